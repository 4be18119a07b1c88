"""Is it ready? Each probe speaks the server's own protocol, and raises NotReady with what it saw.

Written on bare sockets: the client libraries would double the supervisor's memory and its start.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable

from embedded.errors import NotReady

TIMEOUT_SECONDS = 2.0

Probe = Callable[[], Awaitable[None]]


async def alive() -> None:
    """For a process that listens nowhere: to run is to be ready."""


def http_answers(port: int, path: str, *, status: int = 200, contains: bytes = b"") -> Probe:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()

    async def probe() -> None:
        answer = await _exchange(port, request)
        line, _, rest = answer.partition(b"\r\n")
        if line.split(b" ")[1:2] != [str(status).encode()] or contains not in rest:
            body = rest.partition(b"\r\n\r\n")[2]
            raise NotReady(
                f"{path} answers {line.decode(errors='replace')} {body.decode(errors='replace')[:600]}"
            )

    return probe


def s3_answers(port: int) -> Probe:
    """It knows our keys when it refuses a caller without one."""
    return http_answers(port, "/", status=403, contains=b"AccessDenied")


def valkey_answers(port: int, password: str) -> Probe:
    async def probe() -> None:
        answer = await _exchange(port, f"AUTH {password}\r\nPING\r\nQUIT\r\n".encode())
        if b"+PONG" not in answer:
            raise NotReady(f"it answers {answer.decode(errors='replace').strip()}")

    return probe


def postgres_answers(port: int, *, user: str, database: str) -> Probe:
    """A server that asks for the password accepts connections; one that recovers sends an error."""
    parameters = f"user\0{user}\0database\0{database}\0\0".encode()
    startup = struct.pack("!II", 8 + len(parameters), 196608) + parameters  # 196608: protocol 3.0

    async def probe() -> None:
        answer = await _exchange(port, startup, until=b"\0")
        if not answer.startswith(b"R"):
            raise NotReady(f"it answers {answer.replace(bytes(1), b' ').decode(errors='replace').strip()}")

    return probe


async def _exchange(port: int, request: bytes, *, until: bytes | None = None) -> bytes:
    """Send `request`, and read to the end of the answer (or to the first `until`)."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                return await (reader.readuntil(until) if until else reader.read())
            finally:
                writer.close()
    except TimeoutError:
        raise NotReady(f"port {port} gives no answer within {TIMEOUT_SECONDS:g} s") from None
    except (OSError, asyncio.IncompleteReadError) as error:
        raise NotReady(f"port {port} does not answer ({type(error).__name__})") from None
