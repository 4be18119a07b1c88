"""Counts and latencies for `GET /stats`, of all processes that serve: each tells the others through Redis.

What a process has counted leaves with it. While Redis is away each process knows of itself alone, and says so.
"""

import asyncio
import copy
import time
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import redis.asyncio
from pydantic import TypeAdapter, ValidationError
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ml_service.settings import Settings
from platform_kit.plumbing.cancelling import is_cancelled

QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
SMALLEST_MS, RATIO, BUCKETS = 0.02, 1.15, 110
BOUNDS_MS = [SMALLEST_MS * RATIO**n for n in range(BUCKETS)]
"""Up to 84 s, each 15 % larger than the one before: a quantile is at most that far off."""
KEY = "mlp:stats"
PUBLISH_SECONDS = 0.1
AT_LEAST_EVERY_SECONDS = 3.0
SILENT_SECONDS = 15.0
TIMEOUT_SECONDS = 0.2


@dataclass(slots=True)
class Tally:
    """Of the requests to one model, or to all."""

    requests: int = 0
    succeeded: int = 0
    refused: int = 0
    failed: int = 0
    rows: int = 0
    cached_rows: int = 0
    sum_ms: float = 0.0
    max_ms: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (BUCKETS + 1))

    def note(self, outcome: str, milliseconds: float, rows: int, cached_rows: int) -> None:
        self.requests += 1
        if outcome == "ok":
            self.succeeded += 1
        elif outcome == "invalid":
            self.refused += 1
        else:
            self.failed += 1
        self.rows += rows
        self.cached_rows += cached_rows
        self.sum_ms += milliseconds
        if milliseconds > self.max_ms:
            self.max_ms = milliseconds
        self.buckets[bisect_left(BOUNDS_MS, milliseconds)] += 1

    def add(self, other: "Tally") -> None:
        for name in ("requests", "succeeded", "refused", "failed", "rows", "cached_rows", "sum_ms"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.max_ms = max(self.max_ms, other.max_ms)
        self.buckets = [one + more for one, more in zip(self.buckets, other.buckets, strict=True)]

    def summary(self) -> dict[str, Any]:
        return {
            "total_requests": self.requests,
            "succeeded": self.succeeded,
            "refused": self.refused,
            "failed": self.failed,
            "total_rows": self.rows,
            "success_rate": self.succeeded / self.requests if self.requests else None,
            "cache_hit_rate": self.cached_rows / self.rows if self.rows else 0.0,
            "latency": self._latency(),
        }

    def _latency(self) -> dict[str, float] | None:
        """In ms; None before the first request."""
        if not self.requests:
            return None
        quantiles = {name: min(self._quantile(share), self.max_ms) for name, share in QUANTILES.items()}
        return {"mean": self.sum_ms / self.requests, **quantiles, "max": self.max_ms}

    def _quantile(self, share: float) -> float:
        wanted, seen = share * self.requests, 0
        for bound, count in zip(BOUNDS_MS, self.buckets, strict=False):
            seen += count
            if seen >= wanted:
                return bound
        return self.max_ms


@dataclass(slots=True)
class Counted:
    """All that one process has counted. Times are wall-clock seconds."""

    started: float
    at: float = 0.0
    everything: Tally = field(default_factory=Tally)
    models: dict[str, Tally] = field(default_factory=dict)

    def of(self, model_id: str) -> Tally:
        found = self.models.get(model_id)
        if found is None:
            found = self.models[model_id] = Tally()
        return found

    def add(self, other: "Counted") -> None:
        self.started = min(self.started, other.started)
        self.everything.add(other.everything)
        for model_id, tally in other.models.items():
            self.of(model_id).add(tally)


_COUNTED = TypeAdapter(Counted)


class Overview:
    """What all processes have counted. processes: how many; is_complete: whether others could be asked."""

    def __init__(self, counted: Counted, *, processes: int, is_complete: bool) -> None:
        self._counted = counted
        self._about = {
            "uptime_seconds": round(time.time() - counted.started, 3),
            "processes": processes,
            "is_complete": is_complete,
        }

    def everything(self) -> dict[str, Any]:
        return {**self._about, **self._counted.everything.summary()}

    def model(self, model_id: str) -> dict[str, Any]:
        return {**self._about, **self._counted.of(model_id).summary()}


class Stats:
    def __init__(self, client: "redis.asyncio.Redis", replica: str) -> None:
        self._client, self._replica = client, replica
        self._own = Counted(started=time.time())
        self._is_untold = True

    @classmethod
    def from_settings(cls, settings: Settings, replica: str) -> Self:
        client = redis.asyncio.from_url(
            settings.cache_url.get_secret_value(),
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        return cls(client, replica)

    def note(
        self, model_id: str | None, outcome: str, *, milliseconds: float, rows: int, cached_rows: int
    ) -> None:
        """Count one request. model_id: None where it never came to a model."""
        self._own.everything.note(outcome, milliseconds, rows, cached_rows)
        if model_id is not None:
            self._own.of(model_id).note(outcome, milliseconds, rows, cached_rows)
        self._is_untold = True

    async def overview(self) -> Overview:
        told = await self._told()
        counted = copy.deepcopy(self._own)
        for other in told or ():
            counted.add(other)
        return Overview(counted, processes=1 + len(told or ()), is_complete=told is not None)

    async def tell_forever(self) -> None:
        while not is_cancelled():
            if self._is_untold or time.time() - self._own.at > AT_LEAST_EVERY_SECONDS:
                await self._tell()
            await asyncio.sleep(PUBLISH_SECONDS)

    async def close(self) -> None:
        with suppress(RedisError, OSError, TimeoutError):
            await self._client.hdel(KEY, self._replica)
        await self._client.aclose()

    async def _tell(self) -> None:
        """All that was counted, not what is new: told twice it is still true."""
        self._is_untold = False
        self._own.at = time.time()
        try:
            await self._client.hset(KEY, self._replica, _COUNTED.dump_json(self._own))
        except (RedisError, OSError, TimeoutError):
            await asyncio.sleep(1)

    async def _told(self) -> list[Counted] | None:
        """By the other processes that are alive; None if they cannot be asked."""
        try:
            found: dict[Any, Any] = await self._client.hgetall(KEY)
        except (RedisError, OSError, TimeoutError):
            return None
        found.pop(self._replica.encode(), None)
        return list(_alive(found.values()))


def _alive(told: Iterable[bytes]) -> Iterable[Counted]:
    for each in told:
        with suppress(ValidationError):
            counted = _COUNTED.validate_json(each)
            if time.time() - counted.at < SILENT_SECONDS:
                yield counted
