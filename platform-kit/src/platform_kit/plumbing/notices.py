"""Telling other processes what has ended, through a Redis that may be away: for speed only, nothing relies on it.

Notices stand in a stream for some seconds, so that a reader who lost the connection hears what was said meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import redis.asyncio
import structlog
from pydantic import ValidationError
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from platform_kit.contract.access import Notice
from platform_kit.plumbing.cancelling import is_cancelled

STREAM = "notices"
KEPT_SECONDS = 30
MOST_KEPT = 1000
FIELD = b"notice"
TELL_SECONDS = 0.05
"""What telling may take, connecting included."""
LISTEN_SECONDS = 1
PATIENCE_SECONDS = 2
"""With a Redis that says nothing at all."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 2.0

FAULTS = (RedisError, OSError, TimeoutError)

Hear = Callable[[Sequence[Notice]], None]

log = structlog.get_logger(__name__)


class NoticeSender:
    """Tells in the background, and drops what Redis does not take at once."""

    def __init__(self, url: str) -> None:
        self._redis = _client(url, TELL_SECONDS)
        self._waiting: deque[Notice] = deque(maxlen=MOST_KEPT)
        self._telling: asyncio.Task[None] | None = None
        self._is_away = False

    def tell(self, notices: Iterable[Notice]) -> None:
        """Return at once; whoever listens knows a few milliseconds later, unless Redis is away."""
        self._waiting.extend(notices)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def close(self) -> None:
        if self._telling is not None:
            await self._telling
        await self._redis.aclose()

    async def _tell(self) -> None:
        while self._waiting:
            notices = list(self._waiting)
            self._waiting.clear()
            try:
                async with asyncio.timeout(TELL_SECONDS):
                    await self._add(notices)
            except FAULTS as error:
                self._note_away(True, dropped=len(notices), error=type(error).__name__)
            else:
                self._note_away(False)

    async def _add(self, notices: Sequence[Notice]) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for each in notices:
                pipeline.xadd(STREAM, {FIELD: each.model_dump_json()}, maxlen=MOST_KEPT)
            pipeline.expire(STREAM, KEPT_SECONDS)
            await pipeline.execute()

    def _note_away(self, is_away: bool, **facts: object) -> None:
        """Log when it changes, not for every notice."""
        if is_away is not self._is_away:
            self._is_away = is_away
            log.warning("notices.not_told", **facts) if is_away else log.info("notices.told_again")


async def listen(url: str, hear: Hear) -> None:
    """Hand on what is told, beginning with the last seconds, until cancelled; a Redis that is away is tried again."""
    last, pause, is_away = "0", FIRST_PAUSE_SECONDS, False
    client = _client(url, PATIENCE_SECONDS)
    try:
        while not is_cancelled():
            try:
                last = await _listen_once(client, last, hear)
            except FAULTS as error:
                if not is_away:
                    log.warning("notices.not_heard", error=type(error).__name__)
                is_away = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                if is_away:
                    log.info("notices.heard_again")
                pause, is_away = FIRST_PAUSE_SECONDS, False
    finally:
        await client.aclose()


async def _listen_once(client: "redis.asyncio.Redis", last: str, hear: Hear) -> str:
    """Wait for what comes after `last`, for a second; returns the id of the newest that came."""
    found: Any = await client.xread({STREAM: last}, count=MOST_KEPT, block=LISTEN_SECONDS * 1000)
    for _, entries in found or ():
        hear([notice for _, fields in entries if (notice := _notice(fields)) is not None])
        last = entries[-1][0].decode()
    return last


def _notice(fields: dict[bytes, bytes]) -> Notice | None:
    """None for what a newer version says and this one does not know."""
    try:
        return Notice.model_validate_json(fields.get(FIELD, b""))
    except ValidationError:
        return None


def _client(url: str, timeout_seconds: float) -> "redis.asyncio.Redis":
    """It tries a second time, at once: Redis may have closed an idle connection."""
    return redis.asyncio.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 1),
        protocol=2,
    )
