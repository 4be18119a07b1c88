"""Whoever guesses is slowed down, and nobody is locked out: on a real Redis that also freezes and goes away."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from prometheus_client import REGISTRY

from api_server.auth.errors import LoginsThrottled
from api_server.auth.passwords import Passwords
from api_server.auth.throttle import LoginThrottle
from platform_kit.plumbing import rate_counters
from platform_kit.plumbing.rate_counters import (
    TIMEOUT_SECONDS,
    ProcessCounters,
    SharedCounters,
)
from tests.broker import Broker

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
TRICKLE_SECONDS = 10


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(lasting: Broker) -> Broker:
    with redis.Redis.from_url(lasting.url()) as client:
        client.flushall()
    return lasting


@contextmanager
def running(folder: Path) -> Iterator[Broker]:
    server = Broker(folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def timeout_seconds() -> float:
    """A busy machine is no outage."""
    return 10


Open = Callable[..., LoginThrottle]


@pytest.fixture
async def opened(
    server: Broker, timeout_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Open]:
    """Each is what one process has."""
    monkeypatch.setattr(rate_counters, "TIMEOUT_SECONDS", timeout_seconds)
    made: list[SharedCounters] = []

    def open_throttle(
        *, account: int = 100, address: int = 1000, trickle: int = TRICKLE_SECONDS
    ) -> LoginThrottle:
        made.append(SharedCounters(server.url()))
        return LoginThrottle(
            made[-1], failures_per_hour=account, failures_per_address_hour=address, trickle_seconds=trickle
        )

    yield open_throttle
    for each in made:
        await each.close()


@pytest.fixture
def throttle(opened: Open) -> LoginThrottle:
    return opened()


async def may(
    throttle: LoginThrottle, account: str = "ada", address: str | None = HOME, *, is_known: bool = False
) -> bool:
    return await wait_of(throttle, account, address, is_known=is_known) == 0


async def wait_of(
    throttle: LoginThrottle, account: str = "ada", address: str | None = HOME, *, is_known: bool = False
) -> int:
    try:
        await throttle.require(account, address, is_known=is_known)
    except LoginsThrottled as refusal:
        return int(refusal.headers["Retry-After"])
    return 0


async def guess(throttle: LoginThrottle, times: int, account: str = "ada", address: str | None = HOME) -> int:
    """How many of the guesses were let through; all of them are wrong."""
    count = 0
    for _ in range(times):
        if await may(throttle, account, address):
            await throttle.note_failure(account, address)
            count += 1
    return count


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("mlp_login_failures_total", {"reason": reason}) or 0


class TestRequire:
    async def test_lets_a_hundred_guesses_an_hour_through_and_then_one_in_ten_seconds(
        self, throttle: LoginThrottle
    ) -> None:
        assert await guess(throttle, 100) == 100

        assert await guess(throttle, 20) == 1
        assert 1 <= await wait_of(throttle) <= TRICKLE_SECONDS

    async def test_lets_the_next_one_through_after_the_wait_that_it_named(self, opened: Open) -> None:
        throttle = opened(account=3, trickle=1)
        await guess(throttle, 5)

        await asyncio.sleep(await wait_of(throttle))

        assert await may(throttle)

    async def test_counts_guesses_sent_all_at_once_one_by_one(self, throttle: LoginThrottle) -> None:
        passed = await asyncio.gather(*(may(throttle) for _ in range(300)))

        assert sum(passed) == 100 + 1

    async def test_is_asked_by_each_login_when_it_is_its_turn(self, opened: Open) -> None:
        throttle, passwords = opened(account=30), Passwords()
        kept = await passwords.hash("right")

        async def log_in() -> bool:
            async with passwords.turn() as turn:
                if not await may(throttle):
                    return False
                if not await turn.verify("wrong", kept):
                    await throttle.note_failure("ada", HOME)
                return True

        assert sum(await asyncio.gather(*(log_in() for _ in range(100)))) == 30 + 1

    async def test_counts_what_several_processes_let_through_together(self, opened: Open) -> None:
        processes = [opened() for _ in range(3)]

        passed = [await may(processes[count % 3]) for count in range(150)]

        assert sum(passed) == 100 + 1

    async def test_says_the_same_of_accounts_that_do_not_exist(self, throttle: LoginThrottle) -> None:
        refusals = []
        for account in ("ada", "nobody-of-this-name"):
            await guess(throttle, 101, account)
            with pytest.raises(LoginsThrottled) as refusal:
                await throttle.require(account, HOME, is_known=False)
            refusals.append(refusal.value)

        first, second = refusals
        assert (first.status, first.code, first.detail) == (second.status, second.code, second.detail)
        assert first.status == 429
        assert abs(int(first.headers["Retry-After"]) - int(second.headers["Retry-After"])) <= 1

    async def test_knows_an_account_in_any_case(self, throttle: LoginThrottle) -> None:
        assert await guess(throttle, 60, "ada") + await guess(throttle, 60, "ADA") == 101

    @pytest.mark.parametrize(
        ("addresses", "are_one"),
        [
            (["2001:db8:1:2::1", "2001:db8:1:2:ffff::9"], True),
            (["2001:db8:1:2::1", "2001:db8:1:3::1"], False),
            (["::ffff:192.0.2.1", "192.0.2.1"], True),
            (["192.0.2.1", "192.0.2.2"], False),
            ([None, "no address"], True),
        ],
    )
    async def test_takes_a_network_of_version_6_for_one_address(
        self, opened: Open, addresses: list[str | None], are_one: bool
    ) -> None:
        throttle = opened(account=10)

        passed = [await guess(throttle, 11, "ada", address) for address in addresses]

        assert passed == ([11, 0] if are_one else [11, 11])

    @pytest.mark.parametrize("account", ["", "x" * 100_000, "\0", "\ud800", "a\nb", "é"])
    async def test_takes_any_text_for_a_name(self, throttle: LoginThrottle, account: str) -> None:
        assert await may(throttle, account)

    async def test_keeps_no_names_and_no_addresses(self, throttle: LoginThrottle, server: Broker) -> None:
        await guess(throttle, 2, "ada@example.com")

        with redis.Redis.from_url(server.url()) as client:
            keys = [key.decode() for key in client.scan_iter()]
            assert keys
            assert all(client.ttl(key) > 0 for key in keys)
        assert not [key for key in keys if "ada" in key or HOME in key]


class TestOwner:
    async def test_is_let_in_while_a_thousand_addresses_guess(self, throttle: LoginThrottle) -> None:
        for count in range(1000):
            assert await guess(throttle, 1, "ada", f"10.0.{count // 250}.{count % 250}") == 1

        for address, is_known in ((HOME, True), (ELSEWHERE, False)):
            assert await may(throttle, "ada", address, is_known=is_known)

    async def test_waits_ten_seconds_at_most_where_somebody_guessed(self, throttle: LoginThrottle) -> None:
        await guess(throttle, 1000)

        assert await wait_of(throttle) <= TRICKLE_SECONDS

    async def test_waits_a_second_at_most_where_the_account_is_known(self, throttle: LoginThrottle) -> None:
        await guess(throttle, 1000)

        waits = [await wait_of(throttle, is_known=True) for _ in range(3)]

        assert waits == [0, 1, 1]
        await asyncio.sleep(1)
        assert await may(throttle, is_known=True)


class TestAddress:
    async def test_may_fail_a_thousand_times_an_hour_over_all_accounts(self, throttle: LoginThrottle) -> None:
        for count in range(1000):
            assert await guess(throttle, 1, f"user{count}") == 1

        waits = [await wait_of(throttle, f"another{count}") for count in range(5)]

        assert waits == [0, 1, 1, 1, 1]
        assert await may(throttle, "ada", ELSEWHERE)

    async def test_is_no_matter_for_accounts_known_there(self, opened: Open) -> None:
        throttle = opened(address=10)
        for count in range(20):
            await guess(throttle, 1, f"user{count}")

        assert [await may(throttle, f"owner{count}", is_known=True) for count in range(5)] == [True] * 5

    async def test_is_not_forgiven_for_signing_in_to_an_account_of_ones_own(self, opened: Open) -> None:
        throttle = opened(address=10)
        for count in range(10):
            await guess(throttle, 1, f"user{count}")
            await throttle.note_success("mallory", HOME)

        assert [await may(throttle, f"another{count}") for count in range(3)] == [True, False, False]


class TestNoteSuccess:
    async def test_forgets_the_failures(self, throttle: LoginThrottle) -> None:
        await guess(throttle, 99)

        assert await may(throttle)
        await throttle.note_success("ada", HOME)

        assert await guess(throttle, 200) == 101

    async def test_forgets_them_of_this_account_at_this_address(self, opened: Open) -> None:
        throttle = opened(account=5)
        for account, address in (("ada", HOME), ("bob", HOME), ("ada", ELSEWHERE)):
            await guess(throttle, 6, account, address)

        await throttle.note_success("ada", HOME)

        assert await may(throttle, "ada", HOME)
        assert not await may(throttle, "bob", HOME)
        assert not await may(throttle, "ada", ELSEWHERE)

    async def test_of_many_logins_at_once_throttles_none(self, throttle: LoginThrottle) -> None:
        """A script that signs in anew for each of its calls."""
        for _ in range(300):
            assert await may(throttle)
            await throttle.note_success("ada", HOME)


class TestMetric:
    async def test_tells_wrong_passwords_from_attempts_that_were_refused(self, opened: Open) -> None:
        throttle = opened(account=3)
        before = refused("wrong"), refused("throttled")

        await guess(throttle, 10)

        assert (refused("wrong") - before[0], refused("throttled") - before[1]) == (4, 6)


class TestRedisAway:
    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[Broker]:
        with running(tmp_path) as server:
            yield server

    @pytest.fixture
    def timeout_seconds(self) -> float:
        return TIMEOUT_SECONDS

    @pytest.fixture(params=["refused", "frozen"])
    def away(self, request: pytest.FixtureRequest, server: Broker) -> Iterator[Callable[[], None]]:
        yield server.stop if request.param == "refused" else server.freeze
        if request.param == "frozen":
            server.thaw()

    async def test_guesses_are_counted_all_the_same(
        self, throttle: LoginThrottle, away: Callable[[], None]
    ) -> None:
        away()

        assert await guess(throttle, 120) == 101

    async def test_guesses_before_are_not_forgotten(
        self, throttle: LoginThrottle, away: Callable[[], None]
    ) -> None:
        assert await guess(throttle, 90) == 90
        away()

        assert await guess(throttle, 30) == 10 + 1

    @pytest.mark.alone
    async def test_nobody_waits_for_it(self, throttle: LoginThrottle, away: Callable[[], None]) -> None:
        await may(throttle)
        away()
        seconds = []
        for count in range(20):
            started = time.perf_counter()
            assert await may(throttle, f"user{count}")
            seconds.append(time.perf_counter() - started)

        assert max(seconds) < 10 * TIMEOUT_SECONDS
        assert sorted(seconds)[10] < TIMEOUT_SECONDS

    async def test_nobody_is_let_in_again_when_it_comes_back_empty(
        self, throttle: LoginThrottle, server: Broker
    ) -> None:
        await guess(throttle, 101)
        with redis.Redis.from_url(server.url()) as client:
            client.flushall()

        assert await guess(throttle, 5) == 1


class TestProcessAlone:
    async def test_does_as_several_do(self) -> None:
        throttle = LoginThrottle(
            ProcessCounters(), failures_per_hour=5, failures_per_address_hour=10, trickle_seconds=3600
        )

        assert await guess(throttle, 20) == 6
        await throttle.note_success("ada", HOME)
        assert await may(throttle)
