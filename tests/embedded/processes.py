"""What the tests of the embedded platform ask about processes."""

import time
from collections.abc import Callable

from embedded.orphans import start_time


def await_that(fact: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, f"not so within {seconds:g} s"
        time.sleep(0.02)


def await_death(*pids: int | None, seconds: float = 10) -> None:
    await_that(lambda: not any(pid and start_time(pid) for pid in pids), seconds=seconds)
