"""The service as a server calls it: both its ways, and which of them a request took."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_service.app import create_app
from ml_service.serving.fast_lane import FastLane, Parts
from ml_service.settings import Settings

JSON = "application/json"
UNUSUAL = "application/json; charset=utf-8"
"""Means the same, but is left to the routes."""


@dataclass
class Answer:
    status: int
    headers: dict[str, list[str]]
    body: dict[str, Any]
    came_to_the_routes: bool


@dataclass
class Door:
    served: ASGIApp
    parts: Parts
    state: dict[str, Any]
    through: list[str] = field(default_factory=list)

    async def post(
        self,
        path: str,
        *pieces: bytes,
        headers: dict[str, str] | None = None,
        content_type: str = JSON,
        method: str = "POST",
    ) -> Answer:
        """pieces: of the body, each a message of its own; without any it does not come."""
        named = {"Content-Type": content_type, **(headers or {})}
        waiting: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": place < len(pieces) - 1}
            for place, piece in enumerate(pieces)
        ]
        sent: list[Message] = []

        async def receive() -> Message:
            if not waiting:
                await asyncio.sleep(60)
            return waiting.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        self.through.clear()
        await self.served(self._scope(method, path, named), receive, send)
        return _answer(sent, came_to_the_routes=bool(self.through))

    def _scope(self, method: str, path: str, headers: dict[str, str]) -> Scope:
        return {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("198.51.100.7", 4711),
            "server": ("ml", 80),
            "state": dict(self.state),
        }


def _answer(sent: list[Message], *, came_to_the_routes: bool) -> Answer:
    headers: dict[str, list[str]] = {}
    for name, value in sent[0]["headers"]:
        headers.setdefault(name.decode(), []).append(value.decode())
    body = b"".join(each.get("body", b"") for each in sent[1:])
    assert headers["content-length"] == [str(len(body))]
    return Answer(sent[0]["status"], headers, json.loads(body), came_to_the_routes)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Door]:
    settings = settings.model_copy(update={"sync_interval_seconds": 0.05})
    app = create_app(settings)
    through: list[str] = []

    async def routes(scope: Scope, receive: Receive, send: Send) -> None:
        through.append(scope["path"])
        await app(scope, receive, send)

    async with app.router.lifespan_context(app) as state:
        found = dict(state or {})
        lane = FastLane(routes, settings, app.state.rate_limits)
        yield Door(lane, found["parts"], found, through)
