"""What every answer says to browsers: nothing in it is to be guessed at, framed, kept or run.

The services own these headers; nginx adds them only to what it answers itself.
"""

import base64
import hashlib
import re
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOTHING = "default-src 'none'; frame-ancestors 'none'"
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
}
JSON_HEADERS = [
    (name.lower().encode(), value.encode())
    for name, value in {**ALWAYS, "Content-Security-Policy": NOTHING, "Cache-Control": "no-store"}.items()
]
"""Of an answer in JSON, for what is sent without this middleware."""
_PAGES = re.compile(r"/(?:docs|docs/oauth2-redirect|redoc|models/[^/]+/docs)/*")
_ASSETS = "/docs/assets/"
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_JSON = re.compile(r"application/(?:[a-z0-9.-]+\+)?json\b")


class SecurityHeaders:
    """A route's own header wins. `connect_to`: another origin at which the documentation page signs in."""

    def __init__(self, app: ASGIApp, *, connect_to: str = "") -> None:
        self._app = app
        self._connect_to = connect_to

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if _PAGES.fullmatch(path):
            await self._app(scope, receive, _HeldPage(send, connect_to=self._connect_to))
            return
        policy = page_policy(b"", connect_to=self._connect_to) if path.startswith(_ASSETS) else NOTHING

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add(message, policy)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _HeldPage:
    """Keeps a page back until it is whole: the hashes of the scripts in it stand in its headers."""

    def __init__(self, send: Send, *, connect_to: str) -> None:
        self._send, self._connect_to = send, connect_to
        self._start: Message = {}
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        _add(self._start, page_policy(self._body, connect_to=self._connect_to))
        await self._send(self._start)
        await self._send({**message, "body": self._body})


def page_policy(page: bytes, *, connect_to: str) -> str:
    """Scripts run from files of ours, and from the page itself where they are the ones we wrote.

    Swagger and ReDoc set style attributes, so styles may stand in the page; ReDoc works in a worker of its own making.
    """
    scripts = " ".join(["'self'", *map(_hash, _INLINE_SCRIPT.findall(page))])
    connections = " ".join(filter(None, ["'self'", connect_to]))
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        f"font-src 'self'; worker-src 'self' blob:; connect-src {connections}; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )


def _hash(script: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


def _add(start: Message, policy: str) -> None:
    headers = MutableHeaders(scope=start)
    _default(headers, ALWAYS)
    _default(headers, {"Content-Security-Policy": policy})
    if _JSON.match(headers.get("Content-Type", "")):
        _default(headers, {"Cache-Control": "no-store"})


def _default(headers: MutableHeaders, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        headers.setdefault(name, value)
