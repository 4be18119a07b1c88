"""Free loopback ports, kept from one start to the next where they are still free."""

import errno
import json
import os
import random
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from embedded.errors import StartFailed
from embedded.layout import read_json, write_private

ANY_HOST = ("0.0.0.0", "::", "")  # noqa: S104  # recognised, not bound
FIRST, LAST = 15_000, 22_000
"""Where inner ports are chosen: with 10 000 added they stay below the ports that Linux gives to clients."""
S3_SPAN = (*range(5), *range(10_000, 10_005))
"""SeaweedFS: S3, master, volume, filer and admin, each with its gRPC port 10 000 above."""
INNER: Mapping[str, tuple[int, ...]] = {
    "postgres": (0,),
    "redis-broker": (0,),
    "redis-cache": (0,),
    "s3": S3_SPAN,
    "flower": (0,),
    "api": (0,),
    "ml": (0,),
}
ATTEMPTS = 500


@contextmanager
def chosen(path: Path, *, names: Mapping[str, tuple[int, ...]] = INNER) -> Iterator[dict[str, int]]:
    """Give each name a port whose whole span is free: the one of the last start if possible.

    A platform that starts meanwhile gets others, though nobody may listen on these yet.
    """
    saved = read_json(path)
    found: dict[str, int] = {}
    with ExitStack() as held:
        for name, span in names.items():
            found[name] = _pick(saved.get(name), span, held=held)
        write_private(path, json.dumps(found, indent=2) + "\n")
        yield found


def _pick(saved: object, span: tuple[int, ...], *, held: ExitStack) -> int:
    candidates = [saved] if isinstance(saved, int) else []
    candidates += random.sample(range(FIRST, LAST), ATTEMPTS)
    for port in candidates:
        numbers = [port + offset for offset in span]
        if all(is_free(number) for number in numbers) and _reserve(numbers, held):
            return port
    raise StartFailed(
        f"No free port was found between {FIRST} and {LAST} on 127.0.0.1. End programs that listen there."
    )


def _reserve(numbers: list[int], held: ExitStack) -> bool:
    """By names that the kernel gives to one process, and takes back when that ends; False if one is given."""
    with ExitStack() as reserved:
        for number in numbers:
            name = reserved.enter_context(socket.socket(socket.AF_UNIX))
            try:
                name.bind(f"\0mlp port {number}")
            except OSError:
                return False
        held.enter_context(reserved.pop_all())
    return True


def is_free(port: int, *, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise StartFailed(f"Port {port} on {host} cannot be opened: {error.strerror}.") from None
    return True


def require_free(port: int, *, host: str, setting: str, target: str = "dev") -> None:
    if not is_free(port, host=host):
        raise StartFailed(
            f"Port {port} is in use{_by_whom(port)}. Choose another one: make {target} {setting}={port + 10}"
        )


def _by_whom(port: int) -> str:
    """` by process 71 (nginx)`, as far as the kernel tells this user."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listeners(Path("/proc/net") / table, port)}
    targets = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(each) in targets for each in (process / "fd").iterdir()):
                return f" by process {process.name} ({(process / 'comm').read_text().strip()})"
        except OSError:
            continue
    return ""


def _listeners(table: Path, port: int) -> list[str]:
    listening = "0A"
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == listening and int(row[1].rpartition(":")[2], 16) == port]
