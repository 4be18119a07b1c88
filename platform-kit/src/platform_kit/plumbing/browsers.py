"""Which browser applications of other origins may call, with what, and read what of the answers."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from platform_kit.plumbing.problems import REQUEST_ID_HEADER
from platform_kit.plumbing.rate_limits import HEADERS as RATE_LIMIT_HEADERS
from platform_kit.plumbing.settings import ANY_ORIGIN

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SENT_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "X-API-Key",
    REQUEST_ID_HEADER,
    "X-Requested-With",  # Swagger's Authorize sends it
)
EXPOSED_HEADERS = (REQUEST_ID_HEADER, "Location", "ETag", "Retry-After", *RATE_LIMIT_HEADERS)


def allow_browsers(app: FastAPI, origins: tuple[str, ...]) -> None:
    """Let pages of these origins call; those of any origin at all, without the browser's own credentials."""
    if not origins:
        return
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=METHODS,
        allow_headers=SENT_HEADERS,
        allow_credentials=ANY_ORIGIN not in origins,
        expose_headers=EXPOSED_HEADERS,
    )
