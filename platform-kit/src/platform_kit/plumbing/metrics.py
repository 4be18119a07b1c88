"""Prometheus metrics of HTTP requests, under the names that dashboards and alerts use."""

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from prometheus_fastapi_instrumentator import Instrumentator, metrics

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def add_metrics(app: FastAPI) -> None:
    """Count and time requests by route template, and answer `/metrics`."""
    instrumentator = Instrumentator(excluded_handlers=["/metrics", "/health.*", "/internal.*"])
    instrumentator.add(metrics.default(latency_lowr_buckets=BUCKETS, should_only_respect_2xx_for_highr=False))
    instrumentator.instrument(app)
    instrumentator.expose(
        app,
        include_in_schema=True,
        tags=["health"],
        name="metrics",
        summary="What it has done, for Prometheus",
        response_class=PlainTextResponse,
    )
