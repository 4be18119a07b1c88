"""A service as `create_service` makes them, with routes that go well and wrong."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field, SecretStr

from platform_kit.contract.problem import Issue, IssueCode
from platform_kit.plumbing.health import health_router
from platform_kit.plumbing.http import create_service
from platform_kit.plumbing.problems import InvalidRequest, Problem, Unavailable
from platform_kit.plumbing.settings import KitSettings


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

    _show_the_request(app)
    app.include_router(health_router("1", {"fine": _fine, "broken": _broken}))
    return app


def _show_the_request(app: FastAPI) -> None:
    @app.post("/anything")
    async def take_anything(anything: dict[str, Any]) -> dict[str, Any]:
        return {"keys": list(anything)}

    @app.get("/caller")
    async def caller(request: Request) -> dict[str, Any]:
        assert request.client is not None
        return {"address": request.client.host, "scheme": request.url.scheme}

    @app.get("/names/{name}")
    async def name_it(name: str, said: str = "") -> dict[str, str]:
        return {"name": name, "said": said}

    @app.delete("/names/{name}")
    async def forget(name: str) -> None:
        return None

    @app.get("/own-headers")
    async def own_headers() -> Response:
        own = {"Cache-Control": "max-age=5", "Content-Security-Policy": "sandbox"}
        return Response("{}", media_type="application/json", headers=own)


async def _fine() -> str:
    return "answers"


async def _broken() -> str:
    raise ConnectionError("password=hunter2")


def client(app: FastAPI, *, address: str = "127.0.0.1") -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False, client=(address, 4711))
    return httpx2.AsyncClient(transport=transport, base_url="http://t")
