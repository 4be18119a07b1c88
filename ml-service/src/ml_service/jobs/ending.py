"""Handing in how an attempt ended: once in effect, however often it has to be said."""

import threading
import time
from dataclasses import dataclass
from functools import partial

import structlog

from ml_service.jobs.control import ControlUnavailable, Fenced, JobControl, Refused, insist
from ml_service.jobs.heart import Heart, News
from ml_service.jobs.watch import TICK_SECONDS, Interrupted, wait_in_ticks
from platform_kit.contract.jobs import Claim, Finish, JobResult, Outcome, job_problem
from platform_kit.contract.problem import ProblemDetail

LAST_SECONDS = 1.0
"""What a message under way may still take once the job is cancelled or the worker is going away."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class End:
    outcome: Outcome
    result: JobResult | None = None
    error: ProblemDetail | None = None


class Ending:
    def __init__(self, control: JobControl, claim: Claim, worker: str, *, heart: Heart, news: News) -> None:
        self._control, self._claim, self._worker = control, claim, worker
        self._heart, self._news = heart, news

    def hand_in(self, end: End, *, patience_seconds: float, stopping: threading.Event) -> Outcome | None:
        """None: it was not taken; the lease runs out by itself, or another attempt has the job."""
        self._heart.keep_news()
        patience = LAST_SECONDS if end.outcome is Outcome.RELEASED else patience_seconds
        attention = _Attention(self._heart, end.outcome, stopping)
        try:
            insist(
                lambda: wait_in_ticks(partial(self._finish, end), attention.look),
                patience_seconds=patience,
                pause=attention.rest,
            )
        except (Refused, Interrupted) as reason:
            if isinstance(reason, Interrupted):
                self._news.log("Cancelled.")
            other = _instead_of(end, reason)
            if other is None:
                return None
            return self.hand_in(other, patience_seconds=patience_seconds, stopping=stopping)
        except (Fenced, ControlUnavailable) as reason:
            log.warning("job.end_not_taken", outcome=end.outcome, reason=type(reason).__name__)
            return None
        return end.outcome

    def _finish(self, end: End) -> None:
        progress, logs = self._news.take()
        last = Finish(
            worker=self._worker,
            attempt=self._claim.attempt,
            outcome=end.outcome,
            result=end.result,
            error=end.error,
            progress=progress,
            logs=logs,
        )
        try:
            self._control.finish(self._claim.job_id, last)
        except ControlUnavailable:
            self._news.put_back(progress, logs)
            raise


class _Attention:
    """What may change while an end is handed in. A time limit is not of it: the work is done."""

    def __init__(self, heart: Heart, outcome: Outcome, stopping: threading.Event) -> None:
        self._heart, self._outcome, self._stopping = heart, outcome, stopping
        self._noticed_at: float | None = None

    def look(self) -> None:
        """While a message is under way. Fenced is not looked for: it may be due to this very message."""
        if not (self._is_overtaken() or self._stopping.is_set()):
            return
        now = time.monotonic()
        self._noticed_at = self._noticed_at or now
        if now - self._noticed_at > LAST_SECONDS:
            self._give_up()

    def rest(self, seconds: float) -> None:
        """Between two messages."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._heart.is_fenced:
                raise Fenced
            if self._is_overtaken():
                self._give_up()
            self.look()
            time.sleep(TICK_SECONDS)

    def _is_overtaken(self) -> bool:
        """A cancel counts as long as a result is not taken."""
        return self._heart.is_cancelled and self._outcome is not Outcome.CANCELLED

    def _give_up(self) -> None:
        if self._is_overtaken():
            raise Interrupted(Outcome.CANCELLED)
        raise ControlUnavailable("the worker is going away")


def _instead_of(end: End, reason: Refused | Interrupted) -> End | None:
    """What is handed in when `end` cannot be. None: nothing else is left to say."""
    if isinstance(reason, Interrupted):
        return End(reason.outcome, error=reason.error)
    if end.outcome is not Outcome.SUCCEEDED:
        log.error("job.end_refused", detail=str(reason))
        return None
    return End(
        Outcome.FAILED,
        error=job_problem("result_refused", f"api-server did not accept the result: {reason}"),
    )
