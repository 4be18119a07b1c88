"""Progress that a person watches: often enough to see it move, seldom enough to store."""

import time
from collections.abc import Callable

from platform_kit.contract.jobs import Progress

Report = Callable[[Progress], None]

INTERVAL_SECONDS = 0.2


class Meter:
    """Turns rounds of a fit into percent and time left; `start` and `end` bound a stage's share."""

    def __init__(self, report: Report, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._report = report
        self._interval = interval_seconds
        self._start, self._end = 0.0, 100.0
        self._began = self._last = time.monotonic()

    def stage(self, name: str, *, start: float, end: float) -> None:
        """Begin a stage; that is always reported."""
        self._start, self._end = start, end
        self._began = self._last = time.monotonic()
        self._report(Progress(percent=start, stage=name))

    def rounds(self, unit: str, done: int, total: int) -> None:
        """Report a round of the stage, unless one was reported just now. The last one is always reported."""
        now = time.monotonic()
        if done < total and now - self._last < self._interval:
            return
        self._last = now
        left = (now - self._began) / done * (total - done)
        percent = self._start + (self._end - self._start) * done / total
        self._report(Progress(percent=percent, stage=f"{unit} {done} of {total}", eta_seconds=round(left, 1)))
