"""Runs async code for Celery's threads: one event loop for each process, so that pooled connections stay usable."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class TaskRunner:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="task-runner", daemon=True)
        self._thread.start()
        self._beside: list[Future[None]] = []

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for `work` from a thread that is not the loop's own."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Let `work` run beside everything else, for as long as the process does."""
        self._beside.append(asyncio.run_coroutine_threadsafe(work, self._loop))

    def soon(self, call: Callable[[], None]) -> None:
        """Call this on the loop, from any thread and without waiting."""
        self._loop.call_soon_threadsafe(call)
