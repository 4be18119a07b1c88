"""Processes that serve the same, and what one asks of them."""

from typing import Any, NamedTuple

import httpx2
import redis

from ml_service.serving.fast_lane import Parts
from tests.ml_service.serving.calling import OWNER, ROW


class Process(NamedTuple):
    """One of the processes that serve: its door, and its inside."""

    http: httpx2.AsyncClient
    parts: Parts


async def asked(
    process: Process,
    row: dict[str, Any] | None = None,
    *,
    model: str = "churn",
    headers: dict[str, str] | None = None,
    **options: Any,
) -> httpx2.Response:
    body = {"input_data": row or ROW, "return_probabilities": True, **options}
    return await process.http.post(f"/predict/{model}", json=body, headers=headers or OWNER)


async def answered(process: Process, row: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    answer = await asked(process, row, **options)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def true(process: Process, row: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """What the model says, whatever is cached."""
    return said(await answered(process, row, **options, use_cache=False))


def said(answer: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from request to request."""
    metadata = {name: value for name, value in answer["metadata"].items() if name != "cache_used"}
    own = ("processing_time", "timestamp", "prediction_id", "metadata")
    return {**{name: value for name, value in answer.items() if name not in own}, **metadata}


def hit(answer: dict[str, Any]) -> bool:
    return bool(answer["metadata"]["cache_used"])


def number(place: int) -> dict[str, Any]:
    """A row unlike all others."""
    return {**ROW, "feature1": place / 8}


def entries(cache: "redis.Redis") -> dict[bytes, bytes]:
    """What Redis holds of predictions."""
    return {name: value for name in cache.keys("prediction:*") if isinstance(value := cache.get(name), bytes)}  # type: ignore[misc]


async def asked_many(process: Process, rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    body = {"inputs": rows, "return_probabilities": True, **options}
    answer = await process.http.post("/predict/churn/batch", json=body, headers=OWNER)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
