"""Counting in sliding windows: in this process, or in Redis for all processes together."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import structlog
from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from prometheus_client import Counter
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

Answer = TypeVar("Answer")

TIMEOUT_SECONDS = 0.05
"""What one count in Redis may cost a request, connecting included."""
PAUSE_SECONDS = 5.0
"""After a failure Redis is left alone for this long."""
MOST_KEYS = 50_000
MOST_CONNECTIONS = 500

DEGRADED = Counter(
    "mlp_rate_limits_degraded_total", "Requests counted by this process alone, since Redis did not answer"
)
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a caller stands to one limit after a request. `reset_seconds` (at least 1): until there is room for more."""

    is_allowed: bool
    limit: int
    remaining: int
    reset_seconds: int


class Counters(Protocol):
    async def take(self, item: RateLimitItem, key: str) -> Reading:
        """Count one request of `key` unless that goes over the limit."""

    async def peek(self, item: RateLimitItem, key: str) -> Reading:
        """What `take` would say, without counting."""

    async def forget(self, item: RateLimitItem, key: str) -> None: ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class _Window:
    number: int
    current: int = 0
    previous: int = 0


class ProcessCounters:
    """Counts of this process alone. They take constant time and bounded memory, however many callers there are.

    The library's own store in memory looks at every key on every request: 5 ms with 50 000 of them.
    """

    def __init__(self, *, most_keys: int = MOST_KEYS) -> None:
        self._windows: dict[str, _Window] = {}
        self._most_keys = most_keys

    async def take(self, item: RateLimitItem, key: str) -> Reading:
        return self._read(item, key, cost=1)

    async def peek(self, item: RateLimitItem, key: str) -> Reading:
        return self._read(item, key, cost=0)

    async def forget(self, item: RateLimitItem, key: str) -> None:
        self._windows.pop(item.key_for(key), None)

    async def close(self) -> None:
        self._windows.clear()

    def _read(self, item: RateLimitItem, key: str, *, cost: int) -> Reading:
        seconds = item.get_expiry()
        number, passed = divmod(time.monotonic(), seconds)
        window = self._window(item.key_for(key), int(number))
        earlier = math.floor(window.previous * (1 - passed / seconds))
        is_allowed = earlier + window.current < item.amount
        window.current += cost * is_allowed
        reset = seconds - passed
        if window.previous:
            reset = min(reset, reset % (seconds / window.previous))
        return _reading(item, is_allowed, item.amount - earlier - window.current, reset)

    def _window(self, key: str, number: int) -> _Window:
        known = self._windows.get(key)
        if known is not None and known.number == number:
            return known
        # Put in anew, so that who was not heard of for longest is in front, and forgotten first.
        self._windows.pop(key, None)
        if len(self._windows) >= self._most_keys:
            del self._windows[next(iter(self._windows))]
        previous = known.current if known is not None and known.number == number - 1 else 0
        self._windows[key] = _Window(number, previous=previous)
        return self._windows[key]


class SharedCounters:
    """Counts of all processes together, in a Redis that may be away, frozen or emptied at any time.

    A count that takes longer than 50 ms, or fails, is made by this process alone instead, and so are all that follow
    for some seconds; then one request tries Redis again. Meanwhile each process allows the whole limit for itself, and
    `mlp_rate_limits_degraded_total` rises. No request fails for it.
    """

    def __init__(self, url: str) -> None:
        self._storage = RedisStorage(
            url,
            implementation="redispy",
            key_prefix="rate",
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            max_connections=MOST_CONNECTIONS,
            retry=Retry(NoBackoff(), 0),  # type: ignore[arg-type]  # passed on as it is
        )
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)
        self._alone = ProcessCounters()
        self._is_away = False
        self._ask_again = 0.0

    async def take(self, item: RateLimitItem, key: str) -> Reading:
        reading = await self._shared(partial(self._read, self._limiter.hit, item, key))
        return reading or await self._alone.take(item, key)

    async def peek(self, item: RateLimitItem, key: str) -> Reading:
        reading = await self._shared(partial(self._read, self._limiter.test, item, key))
        return reading or await self._alone.peek(item, key)

    async def forget(self, item: RateLimitItem, key: str) -> None:
        await self._alone.forget(item, key)
        await self._shared(partial(self._limiter.clear, item, key))

    async def close(self) -> None:
        await self._storage.bridge.get_connection().aclose()  # type: ignore[attr-defined]  # of the chosen library

    async def _shared(self, ask: Callable[[], Awaitable[Answer]]) -> Answer | None:
        """What Redis answers; None while it is left alone."""
        if self._may_ask():
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    answer = await ask()
            except (RedisError, OSError, TimeoutError) as error:
                self._leave_alone(error)
            else:
                self._is_away = False
                return answer
        DEGRADED.inc()
        return None

    def _may_ask(self) -> bool:
        now = time.monotonic()
        if not self._is_away:
            return True
        if now < self._ask_again:
            return False
        self._ask_again = now + PAUSE_SECONDS  # one request tries; the others go on without waiting for it
        return True

    def _leave_alone(self, error: Exception) -> None:
        if not self._is_away:
            log.warning("rate_limits.degraded", error=type(error).__name__)
        self._is_away = True
        self._ask_again = time.monotonic() + PAUSE_SECONDS

    async def _read(
        self, ask: Callable[[RateLimitItem, str], Awaitable[bool]], item: RateLimitItem, key: str
    ) -> Reading:
        is_allowed = await ask(item, key)
        reset_time, remaining = await self._limiter.get_window_stats(item, key)
        return _reading(item, is_allowed, remaining, reset_time - time.time())


def _reading(item: RateLimitItem, is_allowed: bool, remaining: int, reset_seconds: float) -> Reading:
    return Reading(
        is_allowed=is_allowed,
        limit=item.amount,
        remaining=max(0, remaining) if is_allowed else 0,
        reset_seconds=max(1, math.ceil(reset_seconds)),
    )
