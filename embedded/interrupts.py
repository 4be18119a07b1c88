"""Ctrl-C and TERM: the first asks everything to end, a later one ends it at once."""

import asyncio
import signal
import time
from collections.abc import Callable

SAME_GESTURE_SECONDS = 0.7
"""`make` passes a TERM on that the whole process group has received already: that is one wish, not two."""


class Interrupts:
    def __init__(self, *, force: Callable[[], None]) -> None:
        self.asked = asyncio.Event()
        self._force = force
        self._first = 0.0
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._receive)

    def _receive(self) -> None:
        if not self.asked.is_set():
            self._first = time.monotonic()
            self.asked.set()
        elif time.monotonic() - self._first > SAME_GESTURE_SECONDS:
            self._force()
