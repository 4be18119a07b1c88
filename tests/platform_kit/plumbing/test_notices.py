"""Telling and hearing through a real Redis that is up, frozen, killed and back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import redis

from platform_kit.contract.access import Notice, NoticeKind
from platform_kit.plumbing import notices
from platform_kit.plumbing.notices import NoticeSender, listen
from tests.broker import Broker


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Broker]:
    server = Broker(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def sender(server: Broker) -> AsyncIterator[NoticeSender]:
    sender = NoticeSender(server.url())
    yield sender
    await sender.close()


class Ear:
    def __init__(self) -> None:
        self.heard: list[UUID] = []

    def hear(self, told: Sequence[Notice]) -> None:
        self.heard += [each.id for each in told]

    async def until(self, fact: Callable[[list[UUID]], bool], *, seconds: float = 5) -> float:
        """Returns how many seconds it took."""
        started = time.perf_counter()
        while not fact(self.heard):
            assert time.perf_counter() - started < seconds, self.heard
            await asyncio.sleep(0.001)
        return time.perf_counter() - started


@asynccontextmanager
async def listening(server: Broker) -> AsyncIterator[Ear]:
    ear = Ear()
    task = asyncio.create_task(listen(server.url(), ear.hear))
    yield ear
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def user() -> Notice:
    return Notice(kind=NoticeKind.USER, id=uuid4())


class TestListen:
    @pytest.mark.alone
    async def test_hears_within_milliseconds(self, server: Broker, sender: NoticeSender) -> None:
        async with listening(server) as ear:
            first, second = user(), user()
            sender.tell([first])
            await ear.until(lambda heard: heard == [first.id])

            sender.tell([second])

            assert await ear.until(lambda heard: heard == [first.id, second.id]) < 0.05

    async def test_hears_what_was_told_while_it_was_not_there(
        self, server: Broker, sender: NoticeSender
    ) -> None:
        notice = user()
        sender.tell([notice])
        await asyncio.sleep(0.1)

        async with listening(server) as ear:
            await ear.until(lambda heard: heard == [notice.id])

    async def test_hears_each_notice_once_though_the_connection_is_lost(
        self, server: Broker, sender: NoticeSender
    ) -> None:
        told = [user() for _ in range(20)]
        async with listening(server) as ear:
            with redis.Redis.from_url(server.url()) as other:
                for notice in told:
                    other.client_kill_filter(skipme=True)
                    sender.tell([notice])
                    await asyncio.sleep(0.02)
            last = user()
            sender.tell([last])

            await ear.until(lambda heard: heard[-1:] == [last.id])

        assert ear.heard[:-1] == [each.id for each in told if each.id in ear.heard]
        assert len(ear.heard) >= 15  # the sender's own connection was cut 20 times too

    async def test_hears_again_after_redis_was_killed(self, server: Broker, sender: NoticeSender) -> None:
        async with listening(server) as ear:
            await asyncio.sleep(0.1)
            server.stop()
            await asyncio.sleep(0.2)
            server.start()
            await asyncio.sleep(notices.LONGEST_PAUSE_SECONDS / 4)
            notice = user()

            sender.tell([notice])

            await ear.until(lambda heard: heard == [notice.id])

    async def test_hears_again_after_redis_was_frozen(self, server: Broker, sender: NoticeSender) -> None:
        async with listening(server) as ear:
            await asyncio.sleep(0.1)
            server.freeze()
            await asyncio.sleep(0.3)
            server.thaw()
            notice = user()

            sender.tell([notice])

            await ear.until(lambda heard: notice.id in heard)

    async def test_does_not_stumble_over_what_it_does_not_know(
        self, server: Broker, sender: NoticeSender
    ) -> None:
        with redis.Redis.from_url(server.url()) as other:
            for field, value in (("notice", "{}"), ("notice", b"\xff"), ("other", "x")):
                other.xadd(notices.STREAM, {field: value})
        notice = user()

        async with listening(server) as ear:
            sender.tell([notice])
            await ear.until(lambda heard: heard == [notice.id])

    async def test_ends_whenever_it_is_told_to(self, server: Broker) -> None:
        for milliseconds in (0, 0.3, 1, 2, 2.5, 3, 3.5, 5, 20):
            task = asyncio.create_task(listen(server.url(), lambda _: None))
            await asyncio.sleep(milliseconds / 1000)

            task.cancel()

            async with asyncio.timeout(notices.LISTEN_SECONDS + 2):
                with suppress(asyncio.CancelledError):
                    await task


class TestTell:
    @pytest.mark.alone
    @pytest.mark.parametrize("fault", ["frozen", "killed"])
    async def test_takes_no_time_while_redis_is_away(
        self, server: Broker, sender: NoticeSender, fault: str
    ) -> None:
        sender.tell([user()])
        await asyncio.sleep(0.1)
        server.freeze() if fault == "frozen" else server.stop()
        started = time.perf_counter()

        for _ in range(100):
            sender.tell([user()])

        told_after = time.perf_counter() - started
        await sender.close()
        closed_after = time.perf_counter() - started
        if fault == "frozen":
            server.thaw()
        assert (told_after < 0.02, closed_after < 1) == (True, True)

    async def test_is_heard_again_once_redis_is_back(self, server: Broker, sender: NoticeSender) -> None:
        server.stop()
        sender.tell([user()])
        await asyncio.sleep(0.1)
        server.start()
        notice = user()

        sender.tell([notice])

        async with listening(server) as ear:
            await ear.until(lambda heard: heard == [notice.id])

    async def test_leaves_little_behind_and_not_for_long(self, server: Broker, sender: NoticeSender) -> None:
        for _ in range(40):
            sender.tell([user() for _ in range(100)])
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)

        with redis.Redis.from_url(server.url()) as other:
            assert 1000 <= int(str(other.xlen(notices.STREAM))) < 1200
            assert 0 < int(str(other.ttl(notices.STREAM))) <= notices.KEPT_SECONDS
