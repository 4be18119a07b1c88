"""The manners of both services: problems for everything, request ids, slashes, metrics."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY
from pydantic import BaseModel, Field, SecretStr

from platform_kit.contract.problem import Issue, IssueCode
from platform_kit.plumbing.health import health_router
from platform_kit.plumbing.http import create_service
from platform_kit.plumbing.problems import MEDIA_TYPE, InvalidRequest, Problem, Unavailable
from platform_kit.plumbing.settings import KitSettings

ORIGIN = "https://app.example"


class Thing(BaseModel):
    name: str = Field(max_length=5)
    size: int = Field(ge=1)
    password: str = "x"


class AlreadyThere(Problem):
    status, title = 409, "Already there"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield


def settings(**changes: Any) -> KitSettings:
    return KitSettings(
        broker_url=SecretStr("redis://127.0.0.1/0"),
        cache_url=SecretStr("redis://127.0.0.1/1"),
        internal_token=SecretStr("an internal token for tests only"),
        s3_endpoint="127.0.0.1:9000",
        s3_access_key="key",
        s3_secret_key=SecretStr("hunter2"),
        **{"cors_origins": (), **changes},  # said, since other tests of a session may have set the variable
    )


def service(**changes: Any) -> FastAPI:
    app = create_service(
        title="t", description="d", version="1", lifespan=lifespan, settings=settings(**changes), tags=[]
    )

    @app.post("/things", tags=["things"])
    async def make(thing: Thing) -> dict[str, Any]:
        if thing.name == "taken":
            raise AlreadyThere("A thing of this name is there already; choose another.")
        if thing.name == "away":
            raise Unavailable("Come back.", retry_after_seconds=3)
        if thing.name == "value":
            issue = Issue(pointer="/name", field="name", code=IssueCode.MALFORMED, got="secret")
            raise InvalidRequest("No.", errors=[issue])
        if thing.name == "bug":
            raise RuntimeError("select * from passwords")
        return {"ok": True}

    async def fine() -> str:
        return "answers"

    async def broken() -> str:
        raise ConnectionError("password=hunter2")

    app.include_router(health_router("1", {"fine": fine, "broken": broken}))
    return app


def client(app: FastAPI) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://t")


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

    async def test_say_when_to_come_back(self, http: httpx2.AsyncClient) -> None:
        answer = await http.post("/things", json={"name": "away", "size": 1})

        assert answer.headers["Retry-After"] == "3"

    async def test_name_every_field_and_never_quote_a_secret(self, http: httpx2.AsyncClient) -> None:
        answer = await http.post("/things", json={"name": "toolong", "size": 0, "password": 12345})

        found = {each["field"]: (each["code"], each.get("got")) for each in answer.json()["errors"]}
        assert found == {
            "name": ("too_long", '"toolong"'),
            "size": ("out_of_range", "0"),
            "password": ("wrong_type", None),
        }

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


@pytest.fixture
def empty_registry() -> Iterator[None]:
    """Only the first application of a process counts its requests; this lets the next one be the first."""
    before = list(REGISTRY._collector_to_names)
    for each in before:
        REGISTRY.unregister(each)
    yield
    for each in list(REGISTRY._collector_to_names):
        REGISTRY.unregister(each)
    for each in before:
        REGISTRY.register(each)


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
        self, empty_registry: None, http: httpx2.AsyncClient, path: str
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


class TestCors:
    async def test_lets_the_named_origins_call_and_read_our_headers(self) -> None:
        async with client(service(cors_origins=(ORIGIN,))) as http:
            asked = await http.options(
                "/things",
                headers={
                    "Origin": ORIGIN,
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "authorization, idempotency-key",
                },
            )
            refused = await http.post("/things", json={}, headers={"Origin": ORIGIN})
            stranger = await http.get("/health", headers={"Origin": "https://evil.example"})

        assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
        assert "idempotency-key" in asked.headers["Access-Control-Allow-Headers"]
        assert refused.status_code == 422
        assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
        exposed = refused.headers["Access-Control-Expose-Headers"].split(", ")
        assert exposed == ["X-Request-ID", "Location", "ETag", "Retry-After"]
        assert "Access-Control-Allow-Origin" not in stranger.headers

    async def test_to_everybody_is_without_the_browsers_credentials(self) -> None:
        async with client(service(cors_origins=("*",))) as http:
            answer = await http.get("/health", headers={"Origin": ORIGIN})

        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers

    async def test_is_for_nobody_unless_asked_for(self, http: httpx2.AsyncClient) -> None:
        answer = await http.get("/health", headers={"Origin": ORIGIN})

        assert not [name for name in answer.headers if name.startswith("access-control")]
