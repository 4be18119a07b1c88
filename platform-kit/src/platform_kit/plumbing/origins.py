"""Origins, as browsers name them: who may call, and where a page may call."""

from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_LOOPBACK = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}


def origin_of(url: str) -> str:
    """`https://host:port` of an address, without the port that the scheme has anyway."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def names_of(origin: str) -> tuple[str, ...]:
    """An origin, and on this machine its other name: people type either."""
    host = urlsplit(origin).hostname or ""
    other = _LOOPBACK.get(host)
    return (origin,) if other is None else (origin, origin.replace(host, other, 1))
