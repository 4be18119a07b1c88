"""Counts and latencies since this process started, for `GET /stats`."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

KEPT_LATENCIES = 2000
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass
class Tally:
    total: int = 0
    succeeded: int = 0
    rows: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))

    def note(self, *, succeeded: bool, milliseconds: float, rows: int) -> None:
        self.total += 1
        self.succeeded += succeeded
        self.rows += rows
        self.latencies_ms.append(milliseconds)

    def summary(self) -> dict[str, Any]:
        return {
            "total_requests": self.total,
            "total_rows": self.rows,
            "success_rate": self.succeeded / self.total if self.total else None,
            "cache_hit_rate": 0.0,
            "latency": _latency(sorted(self.latencies_ms)),
        }


class Stats:
    def __init__(self) -> None:
        self._started = time.monotonic()
        self._everything = Tally()
        self._models: dict[str, Tally] = {}

    def note(self, model_id: str | None, *, succeeded: bool, milliseconds: float, rows: int) -> None:
        """Count one request; `model_id` None: it never came to a model."""
        tallies = [self._everything]
        if model_id is not None:
            tallies.append(self._models.setdefault(model_id, Tally()))
        for tally in tallies:
            tally.note(succeeded=succeeded, milliseconds=milliseconds, rows=rows)

    def everything(self) -> dict[str, Any]:
        return {"uptime_seconds": self._uptime(), **self._everything.summary()}

    def model(self, model_id: str) -> dict[str, Any]:
        return {"uptime_seconds": self._uptime(), **self._models.get(model_id, Tally()).summary()}

    def _uptime(self) -> float:
        return round(time.monotonic() - self._started, 3)


def _latency(ordered: list[float]) -> dict[str, float] | None:
    """In ms; None before the first request."""
    if not ordered:
        return None
    found = {
        name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in QUANTILES.items()
    }
    return {"mean": sum(ordered) / len(ordered), **found, "max": ordered[-1]}
