"""What is told when, as a listener on the real Redis hears it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from uuid import UUID, uuid4

import httpx2
import pytest
import redis

from api_server.database import Sessions, make_engine, make_sessions, transaction
from api_server.notices import SENDER, NoticeSender, tell
from api_server.settings import Settings
from platform_kit.contract.access import Notice, NoticeKind, Role
from platform_kit.plumbing.notices import STREAM, listen
from tests.api_server.conftest import SignIn
from tests.api_server.factories import PASSWORD, SignedIn

NEW_PASSWORD = "a wholly different horse"


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, UUID]] = []

    def hear(self, notices: Sequence[Notice]) -> None:
        self.heard += [(each.kind, each.id) for each in notices]

    async def hears(self, kind: NoticeKind, what: UUID | str) -> None:
        async with asyncio.timeout(2):
            while (kind, UUID(str(what))) not in self.heard:
                await asyncio.sleep(0.005)


@pytest.fixture
async def listener(settings: Settings) -> AsyncIterator[Listener]:
    url = settings.cache_url.get_secret_value()
    with redis.Redis.from_url(url) as client:
        client.delete(STREAM)
    found = Listener()
    task = asyncio.create_task(listen(url, found.hear))
    yield found
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def telling(settings: Settings) -> AsyncIterator[Sessions]:
    engine = make_engine(settings)
    sender = NoticeSender(settings.cache_url.get_secret_value())
    yield make_sessions(engine, **{SENDER: sender})
    await sender.close()
    await engine.dispose()


async def session_of(who: SignedIn) -> str:
    found = (await who.http.get("/auth/sessions")).json()["items"]
    return str(next(each["id"] for each in found if each["is_current"]))


def done(answer: httpx2.Response) -> None:
    assert answer.is_success, answer.text


class TestTell:
    async def test_waits_for_the_commit(self, telling: Sessions, listener: Listener) -> None:
        notice = Notice(kind=NoticeKind.USER, id=uuid4())

        async with transaction(telling) as session:
            tell(session, notice)
            await asyncio.sleep(0.2)
            assert listener.heard == []

        await listener.hears(notice.kind, notice.id)

    async def test_of_what_was_rolled_back_is_nothing(self, telling: Sessions, listener: Listener) -> None:
        async def change_and_fail() -> None:
            async with transaction(telling) as session:
                tell(session, Notice(kind=NoticeKind.USER, id=uuid4()))
                raise LookupError

        with pytest.raises(LookupError):
            await change_and_fail()
        await asyncio.sleep(0.2)

        assert listener.heard == []

    async def test_without_a_sender_is_nothing(self, sessions: Sessions, listener: Listener) -> None:
        async with transaction(sessions) as session:
            tell(session, Notice(kind=NoticeKind.USER, id=uuid4()))
        await asyncio.sleep(0.2)

        assert listener.heard == []


class TestEndings:
    async def test_of_one_session(self, maker: SignedIn, listener: Listener) -> None:
        session = await session_of(maker)

        done(await maker.http.post("/auth/logout"))

        await listener.hears(NoticeKind.SESSION, session)
        assert len(listener.heard) == 1

    async def test_of_another_session_of_mine(
        self, maker: SignedIn, client: httpx2.AsyncClient, listener: Listener
    ) -> None:
        mine = await session_of(maker)
        done(await client.post("/auth/token", data={"username": maker.username, "password": PASSWORD}))
        found = (await maker.http.get("/auth/sessions")).json()["items"]
        other = next(each["id"] for each in found if each["id"] != mine)

        done(await maker.http.delete(f"/auth/sessions/{other}"))

        await listener.hears(NoticeKind.SESSION, other)

    async def test_of_all_sessions(self, maker: SignedIn, listener: Listener) -> None:
        done(await maker.http.delete("/auth/sessions"))

        await listener.hears(NoticeKind.USER, maker.id)

    async def test_of_a_session_whose_refresh_token_came_twice(
        self, maker: SignedIn, client: httpx2.AsyncClient, listener: Listener
    ) -> None:
        session = await session_of(maker)
        body = {"refresh_token": maker.refresh_token}
        done(await client.post("/auth/refresh", json=body))
        await asyncio.sleep(0.6)

        assert (await client.post("/auth/refresh", json=body)).status_code == 401

        await listener.hears(NoticeKind.SESSION, session)

    async def test_by_a_new_password(self, maker: SignedIn, listener: Listener) -> None:
        body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}

        done(await maker.http.post("/auth/password", json=body))

        await listener.hears(NoticeKind.USER, maker.id)

    async def test_by_a_reset_password(
        self, maker: SignedIn, sign_in: SignIn, client: httpx2.AsyncClient, listener: Listener
    ) -> None:
        admin = await sign_in(Role.ADMIN)
        token = (await admin.http.post(f"/users/{maker.id}/password-reset")).json()["token"]

        done(await client.post("/auth/password-reset", json={"token": token, "new_password": NEW_PASSWORD}))

        await listener.hears(NoticeKind.USER, maker.id)

    async def test_of_an_account(self, maker: SignedIn, listener: Listener) -> None:
        done(await maker.http.post("/auth/deactivate", json={"password": PASSWORD}))

        await listener.hears(NoticeKind.USER, maker.id)

    @pytest.mark.parametrize("change", [{"role": "user"}, {"is_active": False}])
    async def test_by_an_administrator(
        self, maker: SignedIn, sign_in: SignIn, listener: Listener, change: dict[str, object]
    ) -> None:
        admin = await sign_in(Role.ADMIN)

        done(await admin.http.patch(f"/users/{maker.id}", json=change))

        await listener.hears(NoticeKind.USER, maker.id)

    async def test_of_a_key(self, maker: SignedIn, listener: Listener) -> None:
        key = (await maker.http.post("/api-keys", json={"name": "k", "scopes": ["predict"]})).json()["id"]

        done(await maker.http.delete(f"/api-keys/{key}"))

        await listener.hears(NoticeKind.KEY, key)
