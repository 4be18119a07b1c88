"""Answers that were given before: in this process, and in Redis for models that take longer than asking Redis.

What is kept is what the model itself said of a row, under the digest of the version and the row's checked values. All
that decides it stands in the key, and a version never changes, so an entry can be old but not wrong. What deployments
make of it (thresholds, names, rounding) is done after it is found, and who may ask is decided before.

Source of the limits: a GET costs the event loop about 50 us and a caller about 130 us, so Redis pays only for models
that take several times as long (measured; benchmarks/README.md).
"""

import asyncio
import hashlib
import hmac
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

import orjson
import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ml_service.artifacts.predictor import Scored
from ml_service.serving import metrics
from ml_service.serving.breaker import Breaker
from ml_service.settings import Settings
from platform_kit.contract.inputs import Value

ENTRY_OVERHEAD = 300
"""Bytes that an entry takes beside its key and its numbers."""
TIMEOUT_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 10.0
JITTER = 0.2
MAC_BYTES = 16

log = structlog.get_logger(__name__)


def key_of(digest: str, values: Sequence[Value]) -> bytes:
    """Injective: numbers in their shortest exact spelling, -0.0 unlike 0.0, true unlike 1.0, null unlike both."""
    return digest.encode() + orjson.dumps(values)


class LocalCache:
    """The entries of this process, those asked for last, within a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._entries: OrderedDict[bytes, Scored] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def find(self, key: bytes) -> Scored | None:
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def keep(self, key: bytes, scored: Scored) -> None:
        size = _size(key, scored)
        if size > self._most_bytes or key in self._entries:
            return
        self._entries[key] = scored
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._bytes -= _size(*self._entries.popitem(last=False))

    def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0


def _size(key: bytes, scored: Scored) -> int:
    return ENTRY_OVERHEAD + len(key) + 32 * len(scored.scores)


class SharedCache:
    """Entries of all processes in a Redis that may be slow, frozen, full of garbage or away.

    Each entry carries a code that only holders of the internal token can make, over its key and its content: what was
    altered, moved or planted does not count. A failure costs one request 50 ms; after some Redis is left alone.
    """

    def __init__(self, client: "redis.asyncio.Redis", secret: bytes, *, keep_seconds: int) -> None:
        self._client, self._secret, self._keep_seconds = client, secret, keep_seconds
        self._breaker = Breaker(failures=1, longest_seconds=LONGEST_PAUSE_SECONDS)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        client = redis.asyncio.from_url(
            settings.cache_url.get_secret_value(),
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        token = settings.internal_token.get_secret_value().encode()
        secret = hmac.digest(token, b"prediction cache", "sha256")
        return cls(client, secret, keep_seconds=settings.prediction_cache_seconds)

    async def close(self) -> None:
        await self._client.aclose()

    async def find(self, keys: Sequence[bytes]) -> list[Scored | None]:
        """What is known of each; all None while Redis is left alone."""
        names = [_name(each) for each in keys]
        found = await self._asked(lambda: self._client.mget(names))
        if found is None:
            return [None] * len(keys)
        return [self._read(key, raw) for key, raw in zip(keys, found, strict=True)]

    async def keep(self, entries: Sequence[tuple[bytes, Scored]]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for key, scored in entries:
            seconds = round(self._keep_seconds * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311  # no secret
            pipeline.set(_name(key), self._written(key, scored), ex=max(1, seconds))
        await self._asked(pipeline.execute)

    async def _asked(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What Redis answers; None where it does not, or is not asked."""
        if not self._breaker.admits():
            return None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await ask()
        except (RedisError, OSError, TimeoutError) as error:
            if not self._breaker.is_open:
                log.warning("prediction_cache.degraded", error=type(error).__name__)
            self._breaker.failed()
            metrics.CACHE_DEGRADED.inc()
            return None
        self._breaker.succeeded()
        return answer

    def _written(self, key: bytes, scored: Scored) -> bytes:
        content = orjson.dumps([scored.winner, scored.scores])
        return self._code(key, content) + content

    def _read(self, key: bytes, raw: Any) -> Scored | None:
        if not isinstance(raw, bytes):
            return None
        code, content = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not hmac.compare_digest(code, self._code(key, content)):
            metrics.CACHE_FORGERIES.inc()
            return None
        winner, scores = orjson.loads(content)
        return Scored(winner, scores)

    def _code(self, key: bytes, content: bytes) -> bytes:
        return hashlib.blake2b(key + b"\0" + content, key=self._secret, digest_size=MAC_BYTES).digest()


def _name(key: bytes) -> bytes:
    return b"prediction:" + hashlib.blake2b(key, digest_size=24).hexdigest().encode()
