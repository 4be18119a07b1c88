"""What may end an attempt before its work is done: looked at every tick, in every phase."""

import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import TypeVar

from ml_service.jobs.control import Fenced
from ml_service.jobs.heart import Heart
from platform_kit.contract.jobs import Outcome, job_problem
from platform_kit.contract.problem import ProblemDetail

TICK_SECONDS = 0.1

Result = TypeVar("Result")


class Interrupted(Exception):
    """The attempt ends here; `outcome` and `error` say how."""

    def __init__(self, outcome: Outcome, error: ProblemDetail | None = None) -> None:
        super().__init__(outcome)
        self.outcome, self.error = outcome, error


class Watch:
    """Its time limit begins to run when it is made."""

    def __init__(self, heart: Heart, stopping: threading.Event, *, time_limit_seconds: float) -> None:
        self._heart, self._stopping = heart, stopping
        self._time_limit_seconds = time_limit_seconds
        self._deadline = time.monotonic() + time_limit_seconds

    def check(self) -> None:
        """Raises Fenced, Interrupted."""
        if self._heart.is_fenced:
            raise Fenced
        if self._heart.is_cancelled:
            raise Interrupted(Outcome.CANCELLED)
        if self._stopping.is_set():
            raise Interrupted(Outcome.RELEASED)
        if time.monotonic() > self._deadline:
            detail = f"The job took longer than {self._time_limit_seconds:g} s."
            raise Interrupted(Outcome.FAILED, job_problem("timeout", detail))

    def pause(self, seconds: float) -> None:
        """Raises Fenced, Interrupted."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            self._stopping.wait(min(left, TICK_SECONDS))
        self.check()

    def wait_for(self, work: Callable[[], Result]) -> Result:
        """Do what may block. Raises Fenced, Interrupted; then the work is left to its thread."""
        self.check()
        return wait_in_ticks(work, self.check)


def wait_in_ticks(work: Callable[[], Result], tick: Callable[[], object]) -> Result:
    """Do blocking work in a thread and look around meanwhile. What `tick` raises ends the waiting, not the thread."""
    future: futures.Future[Result] = futures.Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # it belongs to the thread that waits
            future.set_exception(error)

    threading.Thread(target=run, name="blocking", daemon=True).start()
    while not futures.wait([future], timeout=TICK_SECONDS).done:
        tick()
    return future.result()
