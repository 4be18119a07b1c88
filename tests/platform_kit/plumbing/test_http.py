"""The manners of both services: problems for everything, request ids, slashes, metrics."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from platform_kit.plumbing.problems import MEDIA_TYPE
from tests.platform_kit.plumbing.sample import client, service


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with client(service()) as opened:
        yield opened


class TestProblems:
    @pytest.mark.parametrize(
        ("method", "path", "body", "status", "code"),
        [
            ("GET", "/nowhere", None, 404, "not_found"),
            ("PUT", "/things", {}, 405, "method_not_allowed"),
            ("POST", "/things", {"name": "taken", "size": 1}, 409, "already_there"),
            ("POST", "/things", {"name": "toolong", "size": 0}, 422, "invalid_request"),
            ("POST", "/things", {"name": "bug", "size": 1}, 500, "internal_error"),
            ("POST", "/things", {"name": "away", "size": 1}, 503, "unavailable"),
        ],
    )
    async def test_are_what_every_error_is(
        self, http: httpx2.AsyncClient, method: str, path: str, body: Any, status: int, code: str
    ) -> None:
        answer = await http.request(method, path, json=body)

        found = answer.json()
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert (answer.status_code, found["status"], found["code"]) == (status, status, code)
        assert found["instance"] == path
        assert found["request_id"] == answer.headers["X-Request-ID"]
        assert found["title"]
        assert "passwords" not in answer.text

    async def test_of_broken_json_are_a_400(self, http: httpx2.AsyncClient) -> None:
        answer = await http.post("/things", content=b"{", headers={"Content-Type": "application/json"})

        assert (answer.status_code, answer.json()["code"]) == (400, "malformed")

    async def test_of_a_method_name_all_that_there_are(self, http: httpx2.AsyncClient) -> None:
        """Of every route at the address: `/names/{name}` has two."""
        answer = await http.put("/names/ada")

        assert (answer.status_code, answer.headers["Allow"]) == (405, "DELETE, GET")

    async def test_say_when_to_come_back(self, http: httpx2.AsyncClient) -> None:
        answer = await http.post("/things", json={"name": "away", "size": 1})

        assert answer.headers["Retry-After"] == "3"

    async def test_name_every_field_and_quote_none(self, http: httpx2.AsyncClient) -> None:
        answer = await http.post("/things", json={"name": "toolong", "size": 0, "password": 12345})

        found = {each["field"]: (each["code"], each.get("got")) for each in answer.json()["errors"]}
        assert found == {
            "name": ("too_long", None),
            "size": ("out_of_range", None),
            "password": ("wrong_type", None),
        }

    @pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
    async def test_say_that_a_body_should_be_json(self, http: httpx2.AsyncClient, kind: str | None) -> None:
        headers = {"Content-Type": kind} if kind else {}

        answer = await http.post("/things", content=b'{"name": "a"}', headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (415, "not_json")

    async def test_say_where_to_look_when_there_is_nothing(self, http: httpx2.AsyncClient) -> None:
        assert "/docs" in (await http.get("/nowhere")).json()["detail"]

    async def test_quote_what_has_no_utf8_as_an_escape(self, http: httpx2.AsyncClient) -> None:
        body = b'{"name": "a", "size": "\\ud800"}'

        answer = await http.post("/things", content=body, headers={"Content-Type": "application/json"})

        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "size")

    async def test_quote_nothing_when_told_so(self) -> None:
        async with client(service(problems_show_values=False)) as http:
            bad = await http.post("/things", json={"name": "toolong", "size": 0})
            own = await http.post("/things", json={"name": "value", "size": 1})

        assert all("got" not in each for each in bad.json()["errors"] + own.json()["errors"])


class TestRequestId:
    @pytest.mark.parametrize("sent", ["abc-123", "A.b_c", "x" * 128])
    async def test_is_the_callers_own(self, http: httpx2.AsyncClient, sent: str) -> None:
        answer = await http.get("/health", headers={"X-Request-ID": sent})

        assert answer.headers["X-Request-ID"] == sent

    @pytest.mark.parametrize("sent", ["", "with space", "x" * 129, "a;b", "<script>"])
    async def test_is_a_new_one_when_the_callers_is_no_id(self, http: httpx2.AsyncClient, sent: str) -> None:
        answer = await http.get("/health", headers={"X-Request-ID": sent})

        assert answer.headers["X-Request-ID"] != sent
        assert len(answer.headers["X-Request-ID"]) == 32


class TestSlash:
    async def test_at_the_end_changes_nothing(self, http: httpx2.AsyncClient) -> None:
        answers = [await http.post(path, json={"name": "a", "size": 1}) for path in ("/things", "/things/")]

        assert [each.status_code for each in answers] == [200, 200]


class TestHealth:
    async def test_lives_while_a_part_is_away(self, http: httpx2.AsyncClient) -> None:
        answer = await http.get("/health")

        assert (answer.status_code, answer.json()) == (200, {"status": "ok", "version": "1"})

    async def test_readiness_names_the_part_and_no_secret(self, http: httpx2.AsyncClient) -> None:
        answer = await http.get("/health/ready")

        checks = answer.json()["checks"]
        assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
        assert checks["fine"]["ok"] is True
        assert checks["broken"] == {"ok": False, "detail": "ConnectionError"}


class TestDocs:
    async def test_bring_their_own_scripts(self, http: httpx2.AsyncClient) -> None:
        page = (await http.get("/docs")).text

        assert "//" not in page.replace("//</script>", "").partition("<body>")[0]
        for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
            assert f"/docs/assets/{asset}" in page
            answer = await http.get(f"/docs/assets/{asset}")
            assert (answer.status_code, len(answer.content) > 1000) == (200, True)


class TestForwardedPrefix:
    async def test_leads_the_docs_page_to_its_document_and_scripts(self, http: httpx2.AsyncClient) -> None:
        behind = {"X-Forwarded-Prefix": "/ml"}

        page = (await http.get("/docs", headers=behind)).text
        document = (await http.get("/openapi.json", headers=behind)).json()
        script = await http.get("/docs/assets/swagger-ui-bundle.js", headers=behind)

        assert "url: '/ml/openapi.json'" in page
        assert '"/ml/docs/assets/swagger-ui-bundle.js"' in page
        assert document["servers"] == [{"url": "/ml"}]
        assert (script.status_code, len(script.content) > 1000) == (200, True)

    async def test_changes_nothing_for_the_next_caller_without_it(self, http: httpx2.AsyncClient) -> None:
        await http.get("/openapi.json", headers={"X-Forwarded-Prefix": "/ml"})

        assert "servers" not in (await http.get("/openapi.json")).json()
        assert "url: '/openapi.json'" in (await http.get("/docs")).text

    @pytest.mark.parametrize("path", ["/things", "/things/"])
    async def test_leaves_routes_slashes_and_metrics_as_they_are(
        self, http: httpx2.AsyncClient, path: str
    ) -> None:
        answer = await http.post(
            path, json={"name": "a", "size": 1}, headers={"X-Forwarded-Prefix": "/data-plane/ml"}
        )
        counted = (await http.get("/metrics", headers={"X-Forwarded-Prefix": "/ml"})).text

        assert answer.status_code == 200
        assert 'handler="/things"' in counted
        assert "/ml" not in counted
        assert "data-plane" not in counted

    async def test_is_part_of_the_address_that_a_problem_names(self, http: httpx2.AsyncClient) -> None:
        answer = await http.get("/nowhere", headers={"X-Forwarded-Prefix": "/ml"})

        assert (answer.status_code, answer.json()["instance"]) == (404, "/ml/nowhere")

    @pytest.mark.parametrize(
        "sent", ["ml", "/", "/ml/", "//evil.example", "/ML", '/m"l', "/a/../b", "/" + "a" * 64]
    )
    async def test_that_is_no_plain_path_is_ignored(self, http: httpx2.AsyncClient, sent: str) -> None:
        answer = await http.get("/openapi.json", headers={"X-Forwarded-Prefix": sent})

        assert "servers" not in answer.json()
