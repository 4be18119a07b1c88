"""Whose request it is, where proxies of ours stand between.

Only what a trusted proxy says counts, and of that the last address that is not itself trusted: all that stands left of
it may have been made up by the caller.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_WRITTEN = re.compile(r"\[([^\[\]]+)\](?::\d{1,5})?|([^:\[\]]+)(?::\d{1,5})?|([^\[\]]+)")
_SCHEMES = ("http", "https")
NETWORK_BITS = 64
REMEMBERED = 10_000
"""Addresses that were taken apart: the same ones come again and again."""


class TrustedProxies:
    """Put the caller's address and scheme into the scope; without a trusted proxy the peer is the caller."""

    def __init__(self, app: ASGIApp, networks: tuple[Network, ...]) -> None:
        self._app = app
        self._networks = networks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_trusted(_peer(scope)):
            self._believe(scope, Headers(scope=scope))
        await self._app(scope, receive, send)

    def _believe(self, scope: Scope, said: Headers) -> None:
        scheme = said.get("X-Forwarded-Proto", "").strip().lower()
        if scheme in _SCHEMES:
            scope["scheme"] = scheme
        caller = _caller(",".join(said.getlist("X-Forwarded-For")), self._networks)
        if caller is not None:
            scope["client"] = (str(caller), 0)

    def _is_trusted(self, address: Address | None) -> bool:
        return address is not None and _is_in(address, self._networks)


@lru_cache(maxsize=REMEMBERED)
def caller_address(peer: str, said: str, networks: tuple[Network, ...]) -> str:
    """Whose request it is. said: what `X-Forwarded-For` says of it."""
    address = address_in(peer)
    if not said or address is None or not _is_in(address, networks):
        return peer
    return str(_caller(said, networks) or peer)


def _caller(said: str, networks: tuple[Network, ...]) -> Address | None:
    """None as soon as something stands there that is no address: then nothing of it counts."""
    address = None
    for text in reversed(said.split(",")):
        address = address_in(text)
        if address is None or not _is_in(address, networks):
            break
    return address


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def address_in(text: str) -> Address | None:
    """An address as proxies write it, `192.0.2.1:4711` and `[2001:db8::1]:4711` included."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        return None
    try:
        # What follows a % names a network card of somebody else's, in any characters.
        address = ip_address(found[found.lastindex or 0].partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=REMEMBERED)
def network_of(address: str | None) -> str:
    """Whom to count an address for: who holds one of version 6 holds all of the 2**64 that begin like it."""
    found = address_in(address or "")
    if isinstance(found, IPv6Address):
        return str(ip_network((found, NETWORK_BITS), strict=False))
    return str(found or "unknown")


def _peer(scope: Scope) -> Address | None:
    return address_in(scope["client"][0]) if scope.get("client") else None
