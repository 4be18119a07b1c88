"""Where models are asked: at once where that is quick, else in threads, so many for each model and no more.

A model that is slow, stuck or broken costs the others nothing: it has places and a queue of its own, and once it has
failed some times in a row it is left alone for a while.
"""

import asyncio
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import structlog

from ml_service.artifacts.predictor import NoFiniteAnswer
from ml_service.serving import metrics
from ml_service.serving.breaker import Breaker
from ml_service.serving.errors import ModelUnavailable, Overloaded
from ml_service.settings import Settings

Found = TypeVar("Found")

QUICK_SECONDS = 0.0005
"""What takes less is answered on the event loop: a thread would cost about as much."""
SURPRISE_SECONDS, WARY_SECONDS = 0.05, 10.0
"""A quick model that waited for something so long held up everybody, and is asked in threads for a while."""
MEASURED_ONE_IN = 32
MOST_THREADS = 32
THREADS_OF_A_MODEL = 2
"""Python lets one of them work at a time, mostly, and each more keeps the event loop waiting longer (measured: 4 ms for
one, 8 for two, 29 for four, at the 99th percentile). The second is for short requests beside a long batch."""
SMOOTHING = 0.1
FEW_ROWS = 4

log = structlog.get_logger(__name__)


class Lane:
    """One loaded version's way to its answers: how long it takes, who waits for it, whether it works."""

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.waiting = 0
        self.seconds_per_row = 0.0
        self._places = asyncio.Semaphore(THREADS_OF_A_MODEL)
        self._wary_until = 0.0
        self._is_suspect = False
        self._calls = 0

    def note(self, seconds: float, rows: int) -> None:
        """seconds: of the processor; what other processes take away says nothing about the model.

        A row among many takes less than one alone, and it is single rows that this is for.
        """
        if rows > FEW_ROWS:
            return
        each = seconds / rows
        if not self.seconds_per_row:
            self.seconds_per_row = each
        self.seconds_per_row += SMOOTHING * (each - self.seconds_per_row)

    def is_to_be_measured(self) -> bool:
        self._calls += 1
        return self._is_suspect or self._calls % MEASURED_ONE_IN == 1

    def suspect(self) -> None:
        """A call took very long: the next is measured, which shows whether the model is to blame."""
        self._is_suspect = True

    def judge(self, *, is_to_blame: bool) -> None:
        self._is_suspect = False
        if is_to_blame:
            self._wary_until = time.monotonic() + WARY_SECONDS

    def is_quick(self, rows: int) -> bool:
        return self.seconds_per_row * rows < QUICK_SECONDS and time.monotonic() >= self._wary_until

    @property
    def places(self) -> asyncio.Semaphore:
        return self._places


class Scoring:
    def __init__(self, settings: Settings) -> None:
        self._queue, self._queue_seconds = settings.scoring_queue, settings.scoring_queue_seconds
        self._longest_seconds = settings.prediction_seconds
        self._threads = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="scoring")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def require_room(self, lane: Lane) -> None:
        """Refuse what would not be answered soon, before its body is read. Raises Overloaded, ModelUnavailable."""
        if lane.waiting >= self._queue:
            metrics.SHED.labels(reason="queue").inc()
            raise Overloaded
        left = lane.breaker.seconds_left
        if left:
            metrics.SHED.labels(reason="breaker").inc()
            raise _broken(left)

    def at_once(self, lane: Lane, ask: Callable[[], Found], *, rows: int) -> Found:
        """Ask here and now. Raises ModelUnavailable."""
        asking = partial(_measured, lane, ask, rows) if lane.is_to_be_measured() else ask
        began = time.perf_counter()
        try:
            found = asking()
        except Exception as error:
            raise self._failed(lane, error) from error
        if time.perf_counter() - began > SURPRISE_SECONDS:
            lane.suspect()
        lane.breaker.succeeded()
        return found

    async def asked(self, lane: Lane, ask: Callable[[], Found], *, rows: int | None = None) -> Found:
        """Ask in a thread, when there is a place. rows: how many it answers, if the time it takes tells how long a
        prediction takes.

        Raises Overloaded, ModelUnavailable.
        """
        self.require_room(lane)
        if not lane.breaker.admits():
            raise _broken(lane.breaker.seconds_left)
        lane.waiting += 1
        try:
            async with asyncio.timeout(self._queue_seconds):
                await lane.places.acquire()
        except TimeoutError:
            metrics.SHED.labels(reason="deadline").inc()
            raise Overloaded from None
        finally:
            lane.waiting -= 1
        return await self._in_a_thread(lane, ask, rows)

    async def _in_a_thread(self, lane: Lane, ask: Callable[[], Found], rows: int | None) -> Found:
        """The place is free again when the thread is: what cannot be stopped goes on occupying it."""
        work = asyncio.get_running_loop().run_in_executor(self._threads, _watched, ask)
        work.add_done_callback(lambda done: _release(lane, done))
        try:
            async with asyncio.timeout(self._longest_seconds):
                found, seconds, has_waited = await asyncio.shield(work)
        except Exception as error:
            raise self._failed(lane, error) from error
        if has_waited:  # on the event loop everybody would have
            lane.judge(is_to_blame=True)
        if rows is not None:
            lane.note(seconds, rows)
        lane.breaker.succeeded()
        return found

    def _failed(self, lane: Lane, error: Exception) -> ModelUnavailable:
        if isinstance(error, NoFiniteAnswer):  # that is so for this row, not because the model is broken
            return ModelUnavailable(f"The model has no finite answer to this input: {error}.")
        lane.breaker.failed()
        log.warning("model.failed", error=repr(error)[:300], is_left_alone=lane.breaker.is_open)
        reason = "took too long" if isinstance(error, TimeoutError) else "failed"
        return ModelUnavailable(f"The model {reason}; please try again.", retry_after_seconds=1)


def _measured(lane: Lane, ask: Callable[[], Found], rows: int) -> Found:
    """Each look at the clocks is a call of the system, so few calls are measured."""
    found, seconds, has_waited = _watched(ask)
    lane.note(seconds, rows)
    lane.judge(is_to_blame=has_waited)
    return found


def _watched(ask: Callable[[], Found]) -> tuple[Found, float, bool]:
    """What is found, for how many seconds the processor worked for it, and whether the model let go of it by itself for
    long: it waited for something.

    That it was taken away does not count, nor that other threads of ours had their turns, which are short.
    """
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    found, seconds = _timed(ask)
    idle = time.perf_counter() - began - seconds
    times = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before
    return found, seconds, times > 0 and idle / times > SURPRISE_SECONDS


def _timed(ask: Callable[[], Found]) -> tuple[Found, float]:
    """What is found, and for how many seconds the processor worked for it."""
    began = time.thread_time()
    return ask(), time.thread_time() - began


def _release(lane: Lane, work: "asyncio.Future[Any]") -> None:
    lane.places.release()
    if not work.cancelled():
        work.exception()  # whoever waited has it already, or has gone


def _broken(seconds: float) -> ModelUnavailable:
    return ModelUnavailable(
        "The model has failed several times in a row and is left alone for a moment.",
        retry_after_seconds=max(1, round(seconds)),
    )
