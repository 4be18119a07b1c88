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

    async def test_takes_the_place_of_the_validation_errors_of_the_framework(self) -> None:
        async with client(service()) as http:
            document = (await http.get("/openapi.json")).json()

        assert "ValidationError" not in str(document)
        invalid = document["paths"]["/things"]["post"]["responses"]["422"]["content"]
        assert list(invalid) == ["application/problem+json"]

    async def test_says_what_a_body_of_json_may_be_refused_for(self) -> None:
        async with client(service()) as http:
            paths = (await http.get("/openapi.json")).json()["paths"]

        assert {"400", "413"} <= set(paths["/things"]["post"]["responses"])
        assert not {"400", "413"} & set(paths["/caller"]["get"]["responses"])

    async def test_names_the_headers_of_good_answers(self) -> None:
        async with client(service()) as http:
            document = (await http.get("/openapi.json")).json()

        counted = document["paths"]["/things"]["post"]["responses"]["200"]["headers"]
        uncounted = document["paths"]["/health"]["get"]["responses"]["200"]["headers"]
        assert set(counted) == {"X-Request-ID", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}
        assert set(uncounted) == {"X-Request-ID"}
        assert set(document["components"]["headers"]) == set(counted)

    async def test_knows_that_metrics_are_text(self) -> None:
        async with client(service()) as http:
            document = (await http.get("/openapi.json")).json()

        assert list(document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == ["text/plain"]
