"""Entries of this process and of all: what is found is what was kept under exactly this key, or nothing."""

import math
import random
from collections.abc import AsyncIterator

import pytest
import redis
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ml_service.artifacts.predictor import Scored
from ml_service.serving.prediction_cache import ENTRY_OVERHEAD, LocalCache, SharedCache, key_of
from ml_service.settings import Settings
from platform_kit.contract.inputs import Value

DIGEST = "d" * 64
KEY = key_of(DIGEST, [1.0, "a", None])
SCORED = Scored(1, [0.1 + 0.2, 1 / 3, 5e-324])
VALUES = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, -0.0, 1.0, "1", "1.0", "true", "null", "", ",", '"', "\0"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
)


def told_apart(values: list[Value]) -> list[tuple[str, str]]:
    return [(type(each).__name__, repr(each)) for each in values]


class TestKeyOf:
    @examples(max_examples=250, deadline=None)
    @given(st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))
    def test_is_equal_for_equal_values_only(self, one: list[Value], other: list[Value]) -> None:
        is_same = key_of(DIGEST, one) == key_of(DIGEST, other)

        assert is_same == (told_apart(one) == told_apart(other))

    def test_tells_apart_what_python_holds_equal(self) -> None:
        alike: list[list[Value]] = [
            [1.0],
            [True],
            ["1"],
            ["1.0"],
            ["true"],
            [0.0],
            [-0.0],
            [False],
            [None],
            [""],
            [],
        ]

        assert len({key_of(DIGEST, each) for each in alike}) == len(alike)

    def test_tells_apart_neighbouring_numbers(self) -> None:
        assert key_of(DIGEST, [0.3]) != key_of(DIGEST, [math.nextafter(0.3, 1)])

    def test_tells_versions_apart(self) -> None:
        assert key_of("a" * 64, [1.0]) != key_of("b" * 64, [1.0])


class TestLocalCache:
    def test_keeps_what_was_asked_for_last_within_its_bytes(self) -> None:
        cache = LocalCache(10 * (ENTRY_OVERHEAD + len(KEY) + 32 * 3))
        keys = [key_of(DIGEST, [float(number), "a", None]) for number in range(10)]
        for key in keys:
            cache.keep(key, SCORED)
        cache.find(keys[0])

        cache.keep(key_of(DIGEST, [1.0, "b", None]), SCORED)

        assert [number for number, key in enumerate(keys) if cache.find(key) is None] == [1]

    def test_never_takes_more_bytes_than_it_may(self) -> None:
        chance = random.Random(1)
        cache = LocalCache(20_000)

        for _ in range(2000):
            key = key_of(DIGEST, ["x" * chance.randrange(2000), float(chance.randrange(50))])
            cache.keep(key, Scored(0, [0.5] * chance.randrange(1, 50)))
            assert cache.size_bytes <= 20_000

        assert len(cache) > 5
        cache.clear()
        assert (len(cache), cache.size_bytes) == (0, 0)

    def test_counts_an_entry_once(self) -> None:
        cache = LocalCache(20_000)
        cache.keep(KEY, SCORED)
        size = cache.size_bytes

        cache.keep(KEY, SCORED)

        assert (len(cache), cache.size_bytes) == (1, size)

    def test_leaves_out_what_alone_would_be_too_large(self) -> None:
        cache = LocalCache(1000)
        cache.keep(KEY, SCORED)

        cache.keep(key_of(DIGEST, ["x" * 2000]), SCORED)

        assert (len(cache), cache.find(KEY)) == (1, SCORED)

    def test_of_no_bytes_keeps_nothing(self) -> None:
        cache = LocalCache(0)

        cache.keep(KEY, SCORED)

        assert cache.find(KEY) is None


@pytest.fixture
async def shared(settings: Settings, shared_redis: "redis.Redis") -> AsyncIterator[SharedCache]:
    cache = SharedCache.from_settings(settings)
    yield cache
    await cache.close()


class TestSharedCache:
    async def test_gives_every_bit_back_to_every_process(
        self, shared: SharedCache, settings: Settings
    ) -> None:
        other = SharedCache.from_settings(settings)
        regression = key_of(DIGEST, [2.0])
        await shared.keep([(KEY, SCORED), (regression, Scored(None, [-0.0]))])

        found = await other.find([regression, key_of(DIGEST, [3.0]), KEY])

        assert repr(found) == repr([Scored(None, [-0.0]), None, SCORED])
        await other.close()

    async def test_forgets_after_a_while(self, shared: SharedCache, shared_redis: "redis.Redis") -> None:
        await shared.keep([(KEY, SCORED)])

        (name,) = shared_redis.keys()

        assert 3600 * 0.8 - 5 <= shared_redis.ttl(name) <= 3600 * 1.2

    async def test_believes_nothing_that_others_wrote(
        self, shared: SharedCache, shared_redis: "redis.Redis"
    ) -> None:
        other = key_of(DIGEST, [2.0])
        await shared.keep([(KEY, SCORED)])
        (name,) = shared_redis.keys()
        await shared.keep([(other, Scored(0, [0.9, 0.1]))])
        (foreign,) = {*shared_redis.keys()} - {name}
        good = shared_redis.get(name)
        moved = shared_redis.get(foreign)
        assert isinstance(good, bytes)
        assert isinstance(moved, bytes)
        wrong = [
            *(
                b"",
                b"x",
                good[:-1],
                good[:16],
                good[:10],
                good + b" ",
                b"\0" * len(good),
                random.Random(1).randbytes(99),
            ),
            *(bytes([*good[:place], good[place] ^ 1, *good[place + 1 :]]) for place in range(len(good))),
            moved,
            good[:16] + b"[1,[0.9,0.1]]",
        ]
        for each in wrong:
            shared_redis.set(name, each)
            assert await shared.find([KEY]) == [None], each
        shared_redis.delete(name)
        shared_redis.rpush(name, "a list")
        assert await shared.find([KEY]) == [None]

        shared_redis.set(name, good)
        assert await shared.find([KEY]) == [SCORED]

    async def test_believes_nothing_from_a_platform_with_another_secret(
        self, shared: SharedCache, settings: Settings
    ) -> None:
        token = type(settings.internal_token)("the internal token of another platform")
        stranger = SharedCache.from_settings(settings.model_copy(update={"internal_token": token}))
        await stranger.keep([(KEY, Scored(0, [1.0, 0.0]))])
        await stranger.close()

        assert await shared.find([KEY]) == [None]

    async def test_replaces_what_it_does_not_believe(
        self, shared: SharedCache, shared_redis: "redis.Redis"
    ) -> None:
        await shared.keep([(KEY, SCORED)])
        (name,) = shared_redis.keys()
        shared_redis.set(name, b"garbage")

        await shared.keep([(KEY, SCORED)])

        assert await shared.find([KEY]) == [SCORED]
