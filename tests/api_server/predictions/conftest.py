"""Fixtures of predictions:
peer     stands where ml-service would
asking   a maker whose api-server has the peer for its ml-service
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from api_server.main import create_app
from api_server.settings import Settings
from tests.api_server.conftest import WithState
from tests.api_server.factories import PREFIX, SignedIn
from tests.api_server.predictions.peer import Peer, answering_peer


@pytest.fixture(scope="module")
def one_peer() -> Iterator[Peer]:
    with answering_peer() as peer:
        yield peer


@pytest.fixture
def peer(one_peer: Peer) -> Peer:
    one_peer.sent.clear()
    one_peer.replies.clear()
    return one_peer


@asynccontextmanager
async def api_with(settings: Settings, **changes: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A client, not signed in, of an api-server of its own."""
    app = create_app(settings.model_copy(update=changes))
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        transport = httpx2.ASGITransport(app=WithState(app, dict(state)), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://api{PREFIX}") as http:
            yield http


@pytest.fixture
async def asking(settings: Settings, peer: Peer, maker: SignedIn) -> AsyncIterator[httpx2.AsyncClient]:
    async with api_with(settings, ml_internal_url=peer.url) as http:
        http.headers["Authorization"] = maker.http.headers["Authorization"]
        yield http
