"""The table of what is not under /api/v1: the pages of both services, the internal routes, and ml-service."""

from typing import Any

from tests.access.asks import ROW, Ask, ml
from tests.access.needs import ASK_ABOUT, OPERATE, PREDICT
from tests.access.oracle import INTERNAL, OPEN, OPEN_OR_HELD, Need

_PREDICT = {"input_data": ROW}

_INTERNAL = (
    *("POST /internal/access/introspect", "POST /internal/access/refusals", "POST /internal/serving/sync"),
    *("POST /internal/queues/{queue}/claim", "POST /internal/jobs/{job_id}/heartbeat"),
    *("POST /internal/jobs/{job_id}/finish", "GET /internal/serving/models/{ref}"),
)
_PAGES = (
    "/docs",
    "/docs/assets",
    "/docs/oauth2-redirect",
    "/redoc",
    "/openapi.json",
    "/metrics",
    "/health",
    "/health/ready",
)

OPEN_PAGES = tuple(
    # Of the assets, a folder, there is no index. nginx routes /metrics to nobody.
    Ask(
        f"GET {path}",
        OPEN,
        service=service,
        answers=(404,) if path == "/docs/assets" else (),
        tells_all=path == "/metrics",
    )
    for service in ("api", "ml")
    for path in _PAGES
)
INTERNALS = tuple(
    Ask(route, INTERNAL, path={"job_id": "{job}", "ref": "{model}", "queue": "ml"}, json={})
    for route in _INTERNAL
)

_OF_ML: tuple[tuple[str, Need, Any], ...] = (
    ("POST /predict/{model}", PREDICT, _PREDICT),
    ("POST /predict/{model}/batch", PREDICT, {"inputs": [ROW]}),
    ("POST /predict/{model}/versions/{version}", PREDICT, _PREDICT),
    ("POST /predict/{model}/versions/{version}/batch", PREDICT, {"inputs": [ROW]}),
    ("GET /models/{model}", ASK_ABOUT, None),
    ("GET /models/{model}/openapi.json", ASK_ABOUT, None),
    ("POST /models/{model}/unload", OPERATE, None),
    ("POST /models/{model}/reload", OPERATE, None),
)
ML = (
    *(ml(route, need, kind, json=body) for kind in ("model", "endpoint") for route, need, body in _OF_ML),
    ml("GET /models", OPEN_OR_HELD),
    ml("GET /stats", OPEN_OR_HELD),
    # The page knows nothing: it asks the others with its reader's credential.
    ml("GET /models/{model}/docs", OPEN, path={"model": "{model}"}),
)
