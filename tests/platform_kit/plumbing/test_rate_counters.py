"""Counting in this process, and in a real Redis that is refused, frozen, emptied and comes back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis
from prometheus_client import REGISTRY

from platform_kit.plumbing import rate_counters
from platform_kit.plumbing.rate_counters import Counters, ProcessCounters, Reading, SharedCounters
from platform_kit.plumbing.rates import rate
from tests.broker import Broker

ENOUGH = rate("100000/hour")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Broker]:
    server = Broker(tmp_path)
    yield server
    server.stop()


@pytest.fixture
async def opened(server: Broker) -> AsyncIterator[Callable[[], SharedCounters]]:
    made: list[SharedCounters] = []

    def another_process() -> SharedCounters:
        made.append(SharedCounters(server.url()))
        return made[-1]

    yield another_process
    for each in made:
        await each.close()


def degraded() -> float:
    return REGISTRY.get_sample_value("mlp_rate_limits_degraded_total") or 0


async def seconds_of(counters: Counters, times: int) -> list[float]:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        await counters.take(ENOUGH, "ada")
        found.append(time.perf_counter() - began)
    return sorted(found)


async def take(counters: Counters, limit: str, times: int, key: str = "ada") -> list[Reading]:
    return [await counters.take(rate(limit), key) for _ in range(times)]


class TestProcessCounters:
    async def test_allow_the_amount_and_no_more(self) -> None:
        readings = await take(ProcessCounters(), "3/hour", 5)

        assert [each.is_allowed for each in readings] == [True, True, True, False, False]
        assert [each.remaining for each in readings] == [2, 1, 0, 0, 0]
        assert {each.limit for each in readings} == {3}

    async def test_know_keys_and_limits_apart(self) -> None:
        counters = ProcessCounters()

        await take(counters, "1/hour", 1)

        assert [each.is_allowed for each in await take(counters, "1/hour", 1, "bob")] == [True]
        assert [each.is_allowed for each in await take(counters, "2/hour", 1)] == [True]

    async def test_have_room_again_when_they_said(self) -> None:
        counters = ProcessCounters()
        refused = (await take(counters, "5/second", 6))[-1]

        await asyncio.sleep(refused.reset_seconds)

        assert not refused.is_allowed
        assert (await take(counters, "5/second", 1))[0].is_allowed

    async def test_never_allow_twice_the_amount_around_the_end_of_a_window(self) -> None:
        counters = ProcessCounters()
        await asyncio.sleep(0.9 - time.monotonic() % 1 if time.monotonic() % 1 < 0.9 else 0)
        before = await take(counters, "20/second", 20)
        await asyncio.sleep(1.01 - time.monotonic() % 1)

        after = await take(counters, "20/second", 20)

        assert all(each.is_allowed for each in before)
        assert sum(each.is_allowed for each in after) < 10

    async def test_forget_first_who_was_not_heard_of_for_longest(self) -> None:
        counters = ProcessCounters(most_keys=2)
        await take(counters, "1/hour", 1, "first")
        await take(counters, "1/hour", 1, "second")
        await take(counters, "1/hour", 1, "third")

        assert (await take(counters, "1/hour", 1, "third"))[0].is_allowed is False
        assert (await take(counters, "1/hour", 1, "first"))[0].is_allowed is True


class TestSharedCounters:
    async def test_are_one_for_all_processes(
        self, server: Broker, opened: Callable[[], SharedCounters]
    ) -> None:
        server.start()
        one, another = opened(), opened()

        readings = [*await take(one, "3/hour", 2), *await take(another, "3/hour", 2)]

        assert [each.is_allowed for each in readings] == [True, True, True, False]
        assert [each.remaining for each in readings] == [2, 1, 0, 0]
        assert all(1 <= each.reset_seconds <= 3600 for each in readings)

    async def test_go_on_alone_while_redis_is_not_there(
        self, server: Broker, opened: Callable[[], SharedCounters]
    ) -> None:
        before = degraded()

        readings = await take(opened(), "3/hour", 4)

        assert [each.is_allowed for each in readings] == [True, True, True, False]
        assert degraded() - before == 4

    @pytest.mark.alone
    async def test_wait_once_for_a_redis_that_is_frozen(
        self, server: Broker, opened: Callable[[], SharedCounters]
    ) -> None:
        server.start()
        known, new = opened(), opened()
        await known.take(ENOUGH, "ada")
        server.freeze()

        found = [await seconds_of(each, 50) for each in (known, new)]
        server.thaw()

        for seconds in found:
            assert seconds[-1] < 0.1
            assert seconds[-2] < 0.02, "only one waits"

    @pytest.mark.alone
    async def test_of_many_requests_none_waits_longer_than_the_limit(
        self, server: Broker, opened: Callable[[], SharedCounters]
    ) -> None:
        server.start()
        counters = opened()
        await counters.take(ENOUGH, "ada")
        server.freeze()

        began = time.perf_counter()
        readings = await asyncio.gather(*(counters.take(ENOUGH, "ada") for _ in range(50)))
        seconds = time.perf_counter() - began
        server.thaw()

        assert all(each.is_allowed for each in readings)
        assert seconds < 0.3

    async def test_take_an_emptied_redis_for_a_new_one(
        self, server: Broker, opened: Callable[[], SharedCounters]
    ) -> None:
        server.start()
        counters = opened()
        await take(counters, "1/hour", 2)
        before = degraded()

        with redis.Redis.from_url(server.url()) as client:
            client.flushall()
            client.script_flush()

        assert (await take(counters, "1/hour", 1))[0].is_allowed
        assert degraded() == before

    async def test_return_to_redis_once_it_is_back(
        self, server: Broker, opened: Callable[[], SharedCounters], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rate_counters, "PAUSE_SECONDS", 0.2)
        one, another = opened(), opened()
        await take(one, "2/hour", 1)
        server.start()
        await asyncio.sleep(0.25)

        readings = [*await take(one, "2/hour", 1), *await take(another, "2/hour", 2)]

        assert [each.is_allowed for each in readings] == [True, True, False]

    async def test_keep_nothing_for_longer_than_two_periods(
        self, server: Broker, opened: Callable[[], SharedCounters]
    ) -> None:
        server.start()
        await take(opened(), "5/minute", 2)

        with redis.Redis.from_url(server.url()) as client:
            keys = client.keys("*")
            assert keys
            assert all(0 < client.ttl(key) <= 120 for key in keys)
