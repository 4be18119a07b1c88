"""Whom the peer knows and what it wants served, and requests to the service that follows it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
from starlette.types import Message, Receive, Scope, Send

from ml_service.app import create_app, in_the_fast_lane
from ml_service.serving.fast_lane import Parts
from ml_service.settings import Settings
from platform_kit.contract.access import Introspection, Principal, Role
from platform_kit.contract.serving import ModelLookup, ServedVersion, ServingState
from tests.ml_service.peer import Peer
from tests.ml_service.serving.publishing import PROJECT

ROW = {"feature1": 0.5, "feature2": 1, "feature3": -0.3, "feature4": 2.0}
OWNER = {"Authorization": "Bearer owner"}
STRANGER = {"Authorization": "Bearer stranger"}
KEY = {"X-API-Key": "key"}
DEMOS = ["demo_model_1", "demo_model_2"]


def principal(**facts: Any) -> Principal:
    """A user with a session, who is in no project."""
    known = {
        "user_id": uuid4(),
        "username": "ada",
        "role": Role.USER,
        "credential_id": uuid4(),
        "sees_all": False,
        "project_ids": [],
        "scopes": None,
        "endpoint": None,
        "expires_at": datetime.now(UTC) + timedelta(hours=1),
    }
    return Principal.model_validate({**known, **facts})


class ControlPlane:
    """What the peer says, as api-server would: change it, and the next poll or question sees it."""

    def __init__(self, peer: Peer) -> None:
        self.active: list[ServedVersion] = []
        self.candidates: list[ServedVersion] = []
        self.generation = 1
        self.lookups: dict[str, ModelLookup] = {}
        self.proofs: list[dict[str, Any]] = []
        self.refusals: list[dict[str, Any]] = []
        self.callers = {
            "owner": principal(username="owner", project_ids=[PROJECT]),
            "stranger": principal(username="stranger"),
        }
        peer.routes["/serving/sync"] = self._sync
        peer.routes["/introspect"] = self._introspect
        peer.routes["/refusals"] = self._note_refusals

    def change(self, *, active: list[ServedVersion], candidates: list[ServedVersion] | None = None) -> None:
        self.active, self.candidates = active, candidates or []
        self.generation += 1

    def knows_key(self, **facts: Any) -> Principal:
        """Who sends `KEY`; of the owner, unless told otherwise."""
        self.callers["key"] = principal(**{"project_ids": [PROJECT], "scopes": [], **facts})
        return self.callers["key"]

    def _sync(self, report: dict[str, Any]) -> tuple[int, ServingState]:
        self.proofs += report["proofs"]
        if report["applied_generation"] == self.generation:
            return 200, ServingState(generation=self.generation)
        return 200, ServingState(generation=self.generation, active=self.active, candidates=self.candidates)

    def _introspect(self, body: dict[str, Any]) -> tuple[int, Introspection]:
        return 200, Introspection(principal=self.callers.get(body["credential"]))

    def _note_refusals(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.refusals += body["refusals"]
        return 204, {}


@asynccontextmanager
async def running_service(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_inside(settings) as (http, _):
        yield http


@asynccontextmanager
async def running_inside(settings: Settings) -> AsyncIterator[tuple[httpx2.AsyncClient, Parts]]:
    """The service, and what its requests meet inside."""
    settings = settings.model_copy(update={"sync_interval_seconds": 0.05})
    app = create_app(settings)
    served = in_the_fast_lane(app, settings)
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"] = dict(state or {})
            await served(scope, _in_one_piece(scope, receive), send)

        transport = httpx2.ASGITransport(app=with_state, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://ml", timeout=30) as http:
            yield http, (state or {})["parts"]


def _in_one_piece(scope: Scope, receive: Receive) -> Receive:
    """A body as a server hands it over that got it with the headers; the client's transport always cuts off the end."""
    if not any(name == b"content-length" for name, _ in scope.get("headers", ())):
        return receive

    async def whole() -> Message:
        message = await receive()
        while message.get("more_body", False):
            more = await receive()
            message = {**more, "body": message["body"] + more.get("body", b"")}
        return message

    return whole


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0.02)


async def serves(client: httpx2.AsyncClient, version: int) -> None:
    async with asyncio.timeout(10):
        while version not in [each["version"] for each in (await models(client)) if each["name"] == "churn"]:
            await asyncio.sleep(0.02)


async def models(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get("/models", headers=OWNER)).json()["models"]
    return found


async def names(client: httpx2.AsyncClient, headers: dict[str, str]) -> list[str]:
    """Of the models that these headers show."""
    return [each["name"] for each in (await client.get("/models", headers=headers)).json()["models"]]


async def predict(
    client: httpx2.AsyncClient, model: str, headers: dict[str, str] | None = None, tail: str = ""
) -> httpx2.Response:
    return await client.post(f"/predict/{model}{tail}", json={"input_data": ROW}, headers=headers or {})
