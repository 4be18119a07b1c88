"""Stands where ml-service would: it computes nothing, keeps what it was sent, and answers what a test has laid out."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

START_SECONDS = 20


def answer(**facts: Any) -> dict[str, Any]:
    """What ml-service answers; `metadata` may be given in part."""
    metadata = {
        "model_version": 1,
        "digest": "0" * 64,
        "cache_used": False,
        "warnings": [],
        "abstained": False,
    }
    return {
        "model_id": "demo_model_1",
        "prediction": 1,
        "confidence_score": 0.9,
        "probabilities": None,
        "processing_time": 1.5,
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "prediction_id": str(uuid4()),
        "explanation": None,
        "outputs": None,
        **facts,
        "metadata": {**metadata, **facts.get("metadata", {})},
    }


@dataclass
class Peer:
    """reply: the next answers, `(status, headers, body)`; when they are used up it predicts."""

    url: str = ""
    sent: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    replies: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)

    def will_answer(self, body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.replies.append((status, headers or {}, raw))

    async def predict(self, request: Request) -> Response:
        self.sent.append((request.url.path, dict(request.headers), await request.body()))
        if not self.replies:
            self.will_answer(answer())
        status, headers, body = self.replies.pop(0)
        return Response(body, status_code=status, headers=headers, media_type="application/json")


@contextmanager
def answering_peer() -> Iterator[Peer]:
    peer = Peer()
    app = Starlette(routes=[Route("/{path:path}", peer.predict, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        assert time.monotonic() < deadline, "it took too long to start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    peer.url = f"http://127.0.0.1:{port}"
    try:
        yield peer
    finally:
        server.should_exit = True
        thread.join(10)
