"""Prometheus metrics of HTTP requests, under the names that dashboards and alerts use."""

from functools import lru_cache

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from prometheus_client import Counter, Histogram
from prometheus_fastapi_instrumentator import Instrumentator
from prometheus_fastapi_instrumentator.metrics import Info

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

REQUESTS = Counter("http_requests", "Requests by route template", ["method", "status", "handler"])
DURATION = Histogram(
    "http_request_duration_seconds",
    "From a request's arrival to the end of its answer",
    ["method", "handler"],
    buckets=BUCKETS,
)


def add_metrics(app: FastAPI) -> None:
    """Count and time requests by route template, and answer `/metrics`."""
    instrumentator = Instrumentator(excluded_handlers=["/metrics", "/health.*", "/internal.*"])
    instrumentator.add(_count)
    instrumentator.instrument(app)
    instrumentator.expose(
        app,
        include_in_schema=True,
        tags=["health"],
        name="metrics",
        summary="What it has done, for Prometheus",
        response_class=PlainTextResponse,
    )


def count_request(method: str, template: str, status: int | str, *, seconds: float) -> None:
    """Count a request under its kind of status (`2xx`); for what is answered before it comes to the routes too."""
    requests, duration = _of(method, template, f"{str(status)[0]}xx")
    requests.inc()
    duration.observe(seconds)


def _count(info: Info) -> None:
    count_request(info.method, info.modified_handler, info.modified_status, seconds=info.modified_duration)


@lru_cache(maxsize=10_000)
def _of(method: str, template: str, status: str) -> tuple[Counter, Histogram]:
    """Finding them by their labels takes longer than counting."""
    return REQUESTS.labels(method, status, template), DURATION.labels(method, template)
