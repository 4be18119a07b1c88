"""What tests measure: times of many calls, and the share of them that took no longer."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")


class Times:
    """Seconds that calls took, from any number of threads."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def of(self, call: Callable[[], Result]) -> Result:
        started = time.monotonic()
        try:
            return call()
        finally:
            self._seconds.append(time.monotonic() - started)

    def share(self, percent: float) -> float:
        """Seconds that so many percent of the calls did not exceed."""
        ordered = sorted(self._seconds)
        return ordered[math.ceil(len(ordered) * percent / 100) - 1]

    def __str__(self) -> str:
        found = ", ".join(f"p{percent} {self.share(percent) * 1000:.0f} ms" for percent in (50, 95, 99))
        return f"{len(self._seconds)} calls: {found}, longest {max(self._seconds) * 1000:.0f} ms"


@contextmanager
def repeating(work: Callable[[], object], *, threads: int = 1, pause_seconds: float = 0.0) -> Iterator[None]:
    """Do `work` again and again beside the block, which fails if it raises."""
    over = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            while not over.is_set():
                work()
                over.wait(pause_seconds)
        except BaseException as error:
            failures.append(error)

    running = [threading.Thread(target=run, daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in running:
            thread.join(30)
    if failures:
        raise failures[0]
