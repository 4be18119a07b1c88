"""Ordinary requests for one prediction, answered before the framework has begun: it takes longer than most models.

Ordinary is: a caller known a moment ago, a deployed model in memory, a small body about which nothing is to be said,
an answer that is known or found quickly. Everything else takes the way through the routes, which say precisely what
is wrong; whatever was read of its body goes along. Both ways use the same parts, and the same answers come of it.

It is also the gate: no more than so many predictions are under way, and who comes then is refused before anything of
the request is read.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_service.serving import metrics
from ml_service.serving.access import PREDICTING
from ml_service.serving.answers import single_answer
from ml_service.serving.credentials import Credential, credential_of
from ml_service.serving.directory import Directory
from ml_service.serving.errors import ModelUnavailable, Overloaded
from ml_service.serving.found import Found
from ml_service.serving.ids import new_id
from ml_service.serving.predicting import Predicting
from ml_service.serving.principals import Principals
from ml_service.serving.service import Serving
from ml_service.serving.understanding import understood_quickly
from ml_service.settings import Settings
from platform_kit.contract.access import Principal
from platform_kit.plumbing.client_address import caller_address
from platform_kit.plumbing.http import is_accepted_id
from platform_kit.plumbing.metrics import count_request
from platform_kit.plumbing.problems import MEDIA_TYPE, Problem
from platform_kit.plumbing.rate_limits import RateLimits, RequestLimits
from platform_kit.plumbing.security_headers import JSON_HEADERS

PREFIX, TEMPLATE = "/predict/", "/predict/{model}"
MOST_BYTES, MOST_DIGITS = 32 * 1024, 5
PATIENCE_SECONDS = 0.5
"""An ordinary body comes with its headers. The routes wait for others, and say when it was too long."""

_JSON = b"application/json"
_REQUEST_ID = b"x-request-id"
_CREDENTIALS = (b"authorization", b"x-api-key")
_OTHERS = (b"origin", b"content-encoding")
"""A browser's page, or a body that is not what it seems: the routes know about them."""

RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a request meets, on this way as on the other; in the state of the service's life."""

    principals: Principals
    directory: Directory
    predicting: Predicting
    serving: Serving


class _Known(NamedTuple):
    """What the headers of an ordinary request say."""

    request_id: str
    credential: Credential | None
    address: str


class FastLane:
    """Wraps the whole application: even the framework's own entrance takes as long as a small model."""

    def __init__(self, app: ASGIApp, settings: Settings, rate_limits: RateLimits) -> None:
        self._app = app
        self._rate_limits = rate_limits
        self._networks = settings.trusted_proxies
        self._most_under_way = settings.requests_in_flight
        self._body_seconds = min(settings.request_body_seconds, PATIENCE_SECONDS)
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _asks_for_predictions(scope):
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._most_under_way:
            metrics.SHED.labels(reason="in_flight").inc()
            parts: Parts | None = scope.get("state", {}).get("parts")
            if parts is not None:
                parts.serving.note(None, time.perf_counter(), outcome="error")
            await _refuse(scope, send, Overloaded())
            return
        self._under_way += 1
        try:
            read: list[Message] = []
            if not await self._answers(scope, receive, send, read):
                await self._app(scope, _again(read, receive), send)
        finally:
            self._under_way -= 1

    async def _answers(self, scope: Scope, receive: Receive, send: Send, read: list[Message]) -> bool:
        """Answer an ordinary request; False for any other. read: takes what was received of it."""
        began = time.perf_counter()
        parts: Parts | None = scope.get("state", {}).get("parts")
        known = self._known(scope)
        if parts is None or known is None:
            return False
        principal, found = _found(parts, scope["path"][len(PREFIX) :], known)
        if found is None:
            return False
        try:
            parts.predicting.scoring.require_room(found.version.lane)
        except Problem as refusal:
            parts.serving.note(found, began, outcome="error")
            await _refuse(scope, send, refusal)
            return True
        raw = await self._body(receive, read)
        if raw is None:
            return False
        limits = RequestLimits(self._rate_limits, known.address)
        try:
            body = await _answer(parts, found, raw, principal, limits, began)
        except ModelUnavailable as refusal:  # asked once more by the routes it would fail twice
            parts.serving.note(found, began, outcome="error")
            await _refuse(scope, send, refusal, _counted(limits))
            return True
        if body is None:
            return False
        await _send(send, 200, _JSON, body, [*_counted(limits), (_REQUEST_ID, known.request_id.encode())])
        seconds = time.perf_counter() - began
        count_request("POST", TEMPLATE, 200, seconds=seconds)
        return True

    def _known(self, scope: Scope) -> _Known | None:
        """None for a request that is not an ordinary one by its headers."""
        request_id, credentials, forwarded = b"", [], []
        for header in scope["headers"]:
            name, value = header
            if name in _CREDENTIALS:
                credentials.append(header)
            elif name == _REQUEST_ID:
                request_id = value
            elif name == b"x-forwarded-for":
                forwarded.append(value)
            elif _is_unusual(name, value):
                return None
        credential = credential_of(*credentials[0]) if len(credentials) == 1 else None
        if credentials and credential is None:
            return None
        return _Known(_identified(request_id), credential, self._address(scope, forwarded))

    def _address(self, scope: Scope, forwarded: list[bytes]) -> str:
        peer: str = scope["client"][0] if scope.get("client") else "unknown"
        return caller_address(peer, b",".join(forwarded).decode("latin-1"), self._networks)

    async def _body(self, receive: Receive, read: list[Message]) -> bytes | None:
        """The body, if it came in one piece and is small."""
        try:
            async with asyncio.timeout(self._body_seconds):
                message = await receive()
        except TimeoutError:
            return None
        read.append(message)
        raw: bytes = message.get("body", b"")
        return None if message.get("more_body", False) or len(raw) > MOST_BYTES else raw


def _is_unusual(name: bytes, value: bytes) -> bool:
    if name == b"content-type":
        return value != _JSON
    return name in _OTHERS or (name == b"content-length" and len(value) > MOST_DIGITS)


def _asks_for_predictions(scope: Scope) -> bool:
    is_post = scope["type"] == "http" and scope["method"] == "POST"
    path: str = scope.get("path", "")
    return is_post and path.startswith(PREFIX)


def _found(parts: Parts, ref: str, known: _Known) -> tuple[Principal | None, Found | None]:
    """Who asks, and what answers; a demo model asks nobody who is calling."""
    demo = parts.directory.at_once(ref, None)
    if demo is not None or known.credential is None:
        return None, demo
    principal = parts.principals.at_once(known.credential)
    if principal is None or not principal.may(*PREDICTING.scopes):
        return None, None
    return principal, parts.directory.at_once(ref, principal)


async def _answer(
    parts: Parts,
    found: Found,
    raw: bytes,
    principal: Principal | None,
    limits: RequestLimits,
    began: float,
) -> bytes | None:
    """None: the routes have to look at it, and count it there. Raises ModelUnavailable."""
    understood = understood_quickly(found.servable, raw)
    if understood is None or understood.options.explain:
        return None
    row, use_cache = understood.rows[0], understood.options.use_cache
    if not parts.predicting.is_at_once(found.version, row, use_cache=use_cache):
        return None
    if not await limits.admit(None if principal is None else str(principal.user_id)):
        return None
    said = parts.predicting.at_once(found.version, row, use_cache=use_cache)
    if said is None:
        return None
    parts.serving.note(found, began, outcome="ok", rows=1, cached_rows=int(said.from_cache))
    return single_answer(found, said, understood.options, began=began)


async def _refuse(scope: Scope, send: Send, refusal: Problem, headers: RawHeaders | None = None) -> None:
    """As the routes do, at a tenth of the price: there may be very many."""
    request_id = _identified(dict(scope["headers"]).get(_REQUEST_ID, b""))
    detail = refusal.as_detail().model_copy(update={"instance": scope["path"], "request_id": request_id})
    body = detail.model_dump_json(exclude_none=True).encode()
    own = [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
    own += [*(headers or []), (_REQUEST_ID, request_id.encode())]
    await _send(send, refusal.status, MEDIA_TYPE.encode(), body, own)
    count_request("POST", TEMPLATE, refusal.status, seconds=0.0)


async def _send(send: Send, status: int, media_type: bytes, body: bytes, headers: RawHeaders) -> None:
    length = str(len(body)).encode()
    start = [*JSON_HEADERS, (b"content-type", media_type), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


def _identified(sent: bytes) -> str:
    """The request's id: the caller's, if it is well formed."""
    request_id = sent.decode("latin-1")
    return request_id if is_accepted_id(request_id) else new_id()


def _counted(limits: RequestLimits) -> RawHeaders:
    return [(name.lower().encode(), value.encode()) for name, value in limits.headers().items()]


def _again(read: list[Message], receive: Receive) -> Receive:
    """First what was received already."""
    if not read:
        return receive
    waiting = iter(read)

    async def next_message() -> Message:
        return next(waiting, None) or await receive()

    return next_message
