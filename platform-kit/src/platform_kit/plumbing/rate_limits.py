"""How many requests one caller may make.

Each address has a limit, checked before anything else is done for a request, and each principal (a user, an API key)
has one, checked once a route knows who calls; rooms may add named ones, such as for registrations.

Counted answers carry `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (seconds until there is room again)
of the limit that leaves least room. These three are what clients know. Later drafts of the IETF fold them into
`RateLimit` and `RateLimit-Policy`, whose syntax has kept changing: those are not sent.
"""

import hashlib
import re

from fastapi import Request
from prometheus_client import Counter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platform_kit.plumbing.client_address import network_of
from platform_kit.plumbing.problems import Problem, problem_response
from platform_kit.plumbing.rate_counters import Counters, ProcessCounters, Reading, SharedCounters
from platform_kit.plumbing.rates import in_words, rate

HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_NOT_COUNTED = re.compile(r"/(?:health|metrics|docs|redoc|openapi\.json|internal)(?:/|\Z)")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9@._:/-]{1,64}")

REFUSED = Counter("mlp_rate_limited_total", "Requests refused by a rate limit", ["limit"])


class TooManyRequests(Problem):
    status, title, code = 429, "Too many requests", "rate_limited"


class RateLimits:
    """The limits of a service, written as `3000/minute` or `20 per 10 minutes`; an empty one is off."""

    def __init__(self, *, address: str = "", principal: str = "", counters: Counters | None = None) -> None:
        self.address = address
        self.principal = principal
        self.counters: Counters = counters or ProcessCounters()

    @classmethod
    def shared(cls, redis_url: str, *, address: str, principal: str) -> "RateLimits":
        """Counted for all processes together; `close` it when the service ends."""
        return cls(address=address, principal=principal, counters=SharedCounters(redis_url))

    async def close(self) -> None:
        await self.counters.close()


class RequestLimits:
    """The limits as one request meets them; its answer shows the one that leaves least room."""

    def __init__(self, of_service: RateLimits, address: str) -> None:
        self._limits = of_service
        self._address = address
        self._readings: list[Reading] = []

    async def require_address(self, name: str, limit: str) -> None:
        """Count the request for its address under the limit called `name`. Raises TooManyRequests."""
        await self.require(name, network_of(self._address), limit)

    async def require_principal(self, principal: str) -> None:
        """Count the request for who sends it: an id, never a credential. Raises TooManyRequests."""
        await self.require("principal", principal, self._limits.principal)

    async def require(self, name: str, key: str, limit: str) -> None:
        """Count the request for `key` under the limit called `name`, one of few. Raises TooManyRequests."""
        reading = await self._counted(name, key, limit)
        if reading is None or reading.is_allowed:
            return
        REFUSED.labels(name).inc()
        wait = reading.reset_seconds
        raise TooManyRequests(
            f"That was more than {in_words(rate(limit))}; please wait {wait} s, then go on more slowly.",
            retry_after_seconds=wait,
        )

    async def admit(self, principal: str | None) -> bool:
        """Count the request for its address and for who sends it; False: a limit is reached, and another says so."""
        callers = [("address", network_of(self._address), self._limits.address)]
        if principal is not None:
            callers.append(("principal", principal, self._limits.principal))
        for name, key, limit in callers:
            reading = await self._counted(name, key, limit)
            if reading is not None and not reading.is_allowed:
                return False
        return True

    async def _counted(self, name: str, key: str, limit: str) -> Reading | None:
        """None where there is no limit."""
        if not limit:
            return None
        reading = await self._limits.counters.take(rate(limit), f"{name}/{_short(key)}")
        self._readings.append(reading)
        return reading

    async def check_address(self) -> None:
        """What is asked of every request. Raises TooManyRequests."""
        await self.require_address("address", self._limits.address)

    def headers(self) -> dict[str, str]:
        if not self._readings:
            return {}
        least = min(self._readings, key=lambda each: each.remaining)
        values = (least.limit, least.remaining, least.reset_seconds)
        return dict(zip(HEADERS, map(str, values), strict=True))


def rate_limits_of(request: Request) -> RequestLimits:
    found: RequestLimits = request.state.rate_limits
    return found


class RateLimiting:
    """Refuse an address that asks too often before its body is read; routes find the rest in `request.state`.

    The limits are those in `app.state.rate_limits`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        address = scope["client"][0] if scope.get("client") else "unknown"
        request_limits = RequestLimits(scope["app"].state.rate_limits, address)
        scope.setdefault("state", {})["rate_limits"] = request_limits

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(request_limits.headers())
            await send(message)

        answer = self._app
        if is_counted(scope["path"]):
            try:
                await request_limits.check_address()
            except TooManyRequests as refusal:
                answer = problem_response(Request(scope), refusal.as_detail(), headers=refusal.headers)
        await answer(scope, receive, send_with_headers)


def is_counted(path: str) -> bool:
    return not _NOT_COUNTED.match(path)


def _short(key: str) -> str:
    """A key as it may stand in Redis: short, and no text of a user's choosing."""
    return key if _PLAIN_KEY.fullmatch(key) else hashlib.sha256(key.encode(errors="replace")).hexdigest()[:32]
