"""The OpenAPI document of a service."""

from tests.platform_kit.plumbing.sample import client, service


class TestDocumentRefusals:
    async def test_adds_them_to_every_operation(self) -> None:
        async with client(service()) as http:
            document = (await http.get("/openapi.json")).json()

        operations = [each for path in document["paths"].values() for each in path.values()]
        assert len(operations) > 5
        for each in operations:
            for status in ("429", "503"):
                assert each["responses"][status]["description"]
                assert "Retry-After" in each["responses"][status]["headers"]
        refusal = document["paths"]["/things"]["post"]["responses"]["429"]["content"]
        assert refusal == {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetail"}}
        }
        assert {"ProblemDetail", "Issue", "IssueCode"} <= set(document["components"]["schemas"])

    async def test_leaves_what_an_operation_says_itself(self) -> None:
        async with client(service()) as http:
            document = (await http.get("/openapi.json")).json()

        own = document["paths"]["/health/ready"]["get"]["responses"]["503"]["content"]
        assert "Readiness" in str(own)
