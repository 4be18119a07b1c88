"""What both HTTP services do alike: ids, trailing slashes, problems, metrics, headers, limits, operation ids."""

import os
import re
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, NoReturn

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import STARTUP_FAILURE

from platform_kit.plumbing.browsers import allow_browsers
from platform_kit.plumbing.client_address import TrustedProxies
from platform_kit.plumbing.documentation import document_refusals
from platform_kit.plumbing.draining import Draining, Server
from platform_kit.plumbing.metrics import add_metrics
from platform_kit.plumbing.origins import origin_of
from platform_kit.plumbing.problems import REQUEST_ID_HEADER, AnswerFaults, add_problem_handlers
from platform_kit.plumbing.rate_limits import RateLimiting, RateLimits
from platform_kit.plumbing.security_headers import SecurityHeaders
from platform_kit.plumbing.settings import KitSettings
from platform_kit.plumbing.storable import StorableAddress

GRACE_SECONDS = 5
PREFIX_HEADER = "X-Forwarded-Prefix"
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

    Its documentation pages bring their own scripts: they work where nothing else can be reached. No rate limit counts
    until the service puts its own into `app.state.rate_limits`.
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
    app.state.rate_limits = RateLimits()
    app.state.draining = Draining(settings.drain_seconds)
    document_refusals(app)
    add_problem_handlers(app, show_values=settings.problems_show_values)
    add_metrics(app)
    _add_manners(app, settings)
    return app


def _add_manners(app: FastAPI, settings: KitSettings) -> None:
    """The last is the outermost: even what is refused on the way in has its id and headers, and pages may read it."""
    for each in (AnswerFaults, ForwardedPrefix, TrailingSlash, StorableAddress, RateLimiting):
        app.add_middleware(each)
    allow_browsers(app, (*settings.cors_origins, *settings.calling_pages))
    app.add_middleware(TrustedProxies, networks=settings.trusted_proxies)
    app.add_middleware(SecurityHeaders, connect_to=origin_of(settings.public_api_url))
    app.add_middleware(RequestId)


def serve(app: ASGIApp, *, host: str, port: int, draining: Draining) -> NoReturn:
    """Answer requests until told to end; those under way get a few seconds to finish. Ends the process."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        proxy_headers=False,
    )
    server = Server(config, draining)
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)
    sys.stdout.flush()
    sys.stderr.flush()
    # Python would wait for its threads, also for one that is stuck in a model for ever.
    os._exit(0)


def operation_id(route: APIRoute) -> str:
    """`datasets_create`: generated clients get a method a person would have named so."""
    tag = str(route.tags[0]).replace("-", "_") if route.tags else "root"
    return f"{tag}_{route.name}"


def is_accepted_id(sent: str) -> bool:
    """Whether a caller's request id is one that may stand in answers and logs."""
    return _ACCEPTED_ID.fullmatch(sent) is not None


class RequestId:
    """Give each request an id, the caller's if it is well formed; it is in the answer and in the logs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = sent if is_accepted_id(sent) else uuid.uuid4().hex
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
