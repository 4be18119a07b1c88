"""What both HTTP services do alike: request ids, trailing slashes, problems, metrics, operation ids."""

import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platform_kit.plumbing.metrics import add_metrics
from platform_kit.plumbing.problems import REQUEST_ID_HEADER, add_problem_handlers
from platform_kit.plumbing.settings import ANY_ORIGIN, KitSettings

GRACE_SECONDS = 5
PREFIX_HEADER = "X-Forwarded-Prefix"
EXPOSED_HEADERS = (REQUEST_ID_HEADER, "Location", "ETag", "Retry-After")
"""What a browser application of another origin may read of our answers."""
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_ACCEPTED_PREFIX = re.compile(r"(?=.{1,64}\Z)(?:/[a-z0-9-]+)+")

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any] | AsyncIterator[Any]]


def create_service(
    *,
    title: str,
    description: str,
    version: str,
    lifespan: Any,
    settings: KitSettings,
    tags: list[dict[str, Any]],
) -> FastAPI:
    """Make an application with the manners that `contract` asks of both services.

    Its documentation pages bring their own scripts: they work where nothing else can be reached.
    """
    app = FastAPIOffline(
        static_url="/docs/assets",
        title=title,
        description=description,
        version=version,
        lifespan=lifespan,
        redirect_slashes=False,
        openapi_tags=tags,
        generate_unique_id_function=operation_id,
        swagger_ui_parameters={"persistAuthorization": True, "displayRequestDuration": True, "filter": True},
    )
    add_problem_handlers(app, show_values=settings.problems_show_values)
    add_metrics(app)
    app.add_middleware(ForwardedPrefix)
    app.add_middleware(TrailingSlash)
    if settings.cors_origins:
        _allow_browsers(app, settings.cors_origins)
    app.add_middleware(RequestId)
    return app


def _allow_browsers(app: FastAPI, origins: tuple[str, ...]) -> None:
    """Let browser applications of these origins call; to any origin at all, without the browser's own credentials."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["*"],
        allow_headers=["*"],
        allow_credentials=ANY_ORIGIN not in origins,
        expose_headers=EXPOSED_HEADERS,
    )


def serve(app: FastAPI, *, host: str, port: int) -> None:
    """Answer requests until told to end; those under way get a few seconds to finish."""
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        proxy_headers=False,
    )


def operation_id(route: APIRoute) -> str:
    """`datasets_create`: generated clients get a method a person would have named so."""
    tag = str(route.tags[0]).replace("-", "_") if route.tags else "root"
    return f"{tag}_{route.name}"


class RequestId:
    """Give each request an id, the caller's if it is well formed; it is in the answer and in the logs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = sent if _ACCEPTED_ID.fullmatch(sent) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, send_with_id)


class TrailingSlash:
    """Answer `/projects/` as `/projects`: a redirect would lose the body or the credentials of some clients."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and len(path) > 1 and path.endswith("/"):
            scope["path"] = path.rstrip("/") or "/"
        await self._app(scope, receive, send)


class ForwardedPrefix:
    """Know the prefix that a proxy has taken off the path, so that what we say about our own addresses is right.

    ASGI wants `path` to begin with `root_path`; routes are matched, and metrics labelled, without it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = Headers(scope=scope).get(PREFIX_HEADER, "") if scope["type"] == "http" else ""
        if _ACCEPTED_PREFIX.fullmatch(prefix):
            scope["root_path"] = prefix
            scope["path"] = prefix + scope["path"]
            scope["raw_path"] = prefix.encode() + (scope.get("raw_path") or b"")
        await self._app(scope, receive, send)
