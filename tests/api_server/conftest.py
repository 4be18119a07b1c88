"""The api-server in this process, on a real Postgres, two real Redis-protocol servers and a real S3 server.

Fixtures for the rooms' tests:
  client     anonymous, with the API's prefix as base URL
  sign_in    makes an account with a role and returns a client that is signed in as it
  maker      somebody with the role data_scientist; `other` is another one, who shares nothing with the first
  worker     does what a worker does, over the internal routes
  replica    does what a replica of ml-service does, over the internal routes
  sessions   for looking into the database, and for what has no route
Each test starts with empty tables; it may commit, and open as many connections as it likes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx2
import pytest
from sqlalchemy import text
from starlette.types import ASGIApp, Receive, Scope, Send

from api_server.cli import main as command_line
from api_server.database import Sessions, make_engine, make_sessions, transaction
from api_server.main import create_app
from api_server.rights import APPEND_ONLY
from api_server.settings import Settings
from api_server.tables import metadata
from platform_kit.contract.access import Role
from tests.api_server.factories import PREFIX, FakeReplica, SignedIn, Worker, sign_up
from tests.servers import servers_environment

SignIn = Callable[..., Awaitable[SignedIn]]
QUICK = {
    "JOB_LEASE_SECONDS": "30",
    "DEPLOY_WAIT_SECONDS": "1",
    "REFRESH_GRACE_SECONDS": "0.5",
    "AUDIT_REFUSALS_PER_MINUTE": "100000",
    "PASSWORD_RESET_LIMIT": "off",
    "REGISTRATION_LIMIT": "off",
}


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with servers_environment(tmp_path_factory.mktemp("servers")) as found:
        yield {**found, **QUICK}


@pytest.fixture(scope="session")
def settings(environment: dict[str, str]) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for command in (["migrate"], ["prepare-storage"]):
            patch.setattr("sys.argv", ["cli", *command])
            command_line()
        yield Settings.from_environment()


class WithState:
    """What uvicorn does with the state that an application's lifespan yields."""

    def __init__(self, app: ASGIApp, state: dict[str, Any]) -> None:
        self._app, self._state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = dict(self._state)
        await self._app(scope, receive, send)


@pytest.fixture(scope="session")
async def running(settings: Settings) -> AsyncIterator[tuple[ASGIApp, dict[str, Any]]]:
    app = create_app(settings)
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        yield WithState(app, dict(state)), dict(state)


@pytest.fixture(scope="session")
async def all_sessions(settings: Settings) -> AsyncIterator[Sessions]:
    engine = make_engine(settings)
    yield make_sessions(engine)
    await engine.dispose()


@pytest.fixture(scope="session")
async def owner_sessions(settings: Settings) -> AsyncIterator[Sessions]:
    """As the owner of the schema, for what the application may not do."""
    engine = make_engine(settings.model_copy(update={"database_url": settings.schema_url}))
    yield make_sessions(engine)
    await engine.dispose()


@pytest.fixture
async def sessions(all_sessions: Sessions, owner_sessions: Sessions) -> Sessions:
    async with transaction(owner_sessions) as session:
        await session.execute(text(_emptying()))
    return all_sessions


def _emptying() -> str:
    """Takes a seventh of the time of TRUNCATE, which makes new files for every table and index, with rows or without.

    The triggers of append-only tables refuse their owner too, unless it turns them off.
    """
    tables = [f'"{each.name}"' for each in reversed(metadata.sorted_tables)]
    guarded = [f'"{name}"' for name, each in metadata.tables.items() if each.info.get(APPEND_ONLY)]
    statements = [
        f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE",
        *(f"ALTER TABLE {each} DISABLE TRIGGER USER" for each in guarded),
        *(f"DELETE FROM {each}" for each in tables),
        *(f"ALTER TABLE {each} ENABLE TRIGGER USER" for each in guarded),
        "PERFORM setval(oid, 1, false) FROM pg_class WHERE relkind = 'S'",
    ]
    return f"DO $$ BEGIN {'; '.join(statements)}; END $$"


def _http(app: ASGIApp, *, base: str = PREFIX) -> httpx2.AsyncClient:
    # An error of ours is to be seen as the answer that a client would get.
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url=f"http://api{base}", timeout=30)


@pytest.fixture
async def client(
    running: tuple[ASGIApp, dict[str, Any]], sessions: Sessions
) -> AsyncIterator[httpx2.AsyncClient]:
    async with _http(running[0]) as http:
        yield http


@pytest.fixture
async def internal(
    running: tuple[ASGIApp, dict[str, Any]], sessions: Sessions, settings: Settings
) -> AsyncIterator[httpx2.AsyncClient]:
    async with _http(running[0], base="/internal") as http:
        http.headers["X-Internal-Token"] = settings.internal_token.get_secret_value()
        yield http


@pytest.fixture
async def sign_in(
    running: tuple[ASGIApp, dict[str, Any]], client: httpx2.AsyncClient, sessions: Sessions
) -> AsyncIterator[SignIn]:
    opened: list[httpx2.AsyncClient] = []

    async def sign_in(role: Role = Role.DATA_SCIENTIST) -> SignedIn:
        opened.append(_http(running[0]))
        return await sign_up(client, opened[-1], sessions, role=role)

    yield sign_in
    for each in opened:
        await each.aclose()


@pytest.fixture
async def maker(sign_in: SignIn) -> SignedIn:
    return await sign_in()


@pytest.fixture
async def other(sign_in: SignIn) -> SignedIn:
    return await sign_in()


@pytest.fixture
def worker(internal: httpx2.AsyncClient) -> Worker:
    return Worker(internal)


@pytest.fixture
def replica(internal: httpx2.AsyncClient) -> FakeReplica:
    return FakeReplica(internal)
