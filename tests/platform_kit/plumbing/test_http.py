"""The manners of both services: problems for everything, request ids, slashes, metrics."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field

from platform_kit.contract.problem import Issue, IssueCode
from platform_kit.plumbing.health import health_router
from platform_kit.plumbing.http import create_service
from platform_kit.plumbing.problems import MEDIA_TYPE, InvalidRequest, Problem, Unavailable


class Thing(BaseModel):
    name: str = Field(max_length=5)
    size: int = Field(ge=1)
    password: str = "x"


class AlreadyThere(Problem):
    status, title = 409, "Already there"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield


def service(*, show_values: bool = True) -> FastAPI:
    app = create_service(
        title="t", description="d", version="1", lifespan=lifespan, show_values=show_values, tags=[]
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
        async with client(service(show_values=False)) as http:
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
