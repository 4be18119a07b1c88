"""Ending without losing a request: say so first and go on answering, then take no more, finish, and end."""

import asyncio
import signal
import socket
import time
from types import FrameType

import uvicorn

LAST_REQUESTS_SECONDS = 0.2
CLOSE = (b"connection", b"close")


class Draining:
    """Whether this process has been asked to end: the server begins it, and readiness tells others."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._ends_at: float | None = None

    @property
    def has_begun(self) -> bool:
        return self._ends_at is not None

    @property
    def is_over(self) -> bool:
        return self._ends_at is not None and time.monotonic() >= self._ends_at

    def begin(self) -> None:
        self._ends_at = time.monotonic() + self.seconds


class Server(uvicorn.Server):
    """After SIGTERM it takes requests for some seconds more, so that whoever sends them can look elsewhere.

    A second SIGTERM, or Ctrl-C, ends that time.
    """

    def __init__(self, config: uvicorn.Config, draining: Draining) -> None:
        super().__init__(config)
        self._draining = draining

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM is not raised again at the end, as uvicorn does: who ends as it was told has not failed."""
        if sig != signal.SIGTERM:
            super().handle_exit(sig, frame)
        elif self._draining.has_begun:
            self.should_exit = True
        else:
            self._draining.begin()
            self._let_connections_go()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._draining.is_over

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._draining.seconds:
            for each in self.servers:
                each.close()
            # What has just connected has its request on the way: uvicorn would hang up on it unread.
            await asyncio.sleep(LAST_REQUESTS_SECONDS)
        await super().shutdown(sockets)

    def _let_connections_go(self) -> None:
        """Every answer from now on is the last of its connection: none is open and idle when all ends."""
        self.config.encoded_headers = [*self.config.encoded_headers, CLOSE]
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        for each in self.server_state.connections:
            under_way = getattr(each, "cycle", None)
            if under_way is not None:
                under_way.keep_alive = False
