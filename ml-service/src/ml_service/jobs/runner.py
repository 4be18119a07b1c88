"""From a doorbell to an attempt: claim the job whose turn it is, and run it."""

import time
from functools import partial
from uuid import uuid4

import structlog

from ml_service.jobs.attempt import Attempt, Workshop
from ml_service.jobs.control import ControlUnavailable, NothingToDo, Refused, insist
from platform_kit.contract.jobs import Claim

log = structlog.get_logger(__name__)


class JobRunner:
    """name: of this worker process, for people; each claim adds its own ending to it."""

    def __init__(self, workshop: Workshop, name: str) -> None:
        self._workshop, self._name = workshop, name

    def run(self, queue: str) -> None:
        """Run a job of the queue if one waits; returns when its attempt is over."""
        worker = f"{self._name}:{uuid4().hex[:8]}"
        try:
            claim = self._claim(queue, worker)
        except (NothingToDo, Refused, ControlUnavailable) as reason:
            log.info("job.not_claimed", queue=queue, reason=type(reason).__name__)
            return
        with structlog.contextvars.bound_contextvars(job_id=str(claim.job_id), attempt=claim.attempt):
            log.info("job.claimed", kind=claim.spec.kind, worker=worker)
            started = time.monotonic()
            outcome = Attempt(claim, worker, self._workshop).run()
            log.info("job.finished", outcome=outcome, seconds=round(time.monotonic() - started, 3))

    def _claim(self, queue: str, worker: str) -> Claim:
        """A claim whose answer was lost is asked for again under the same name."""
        self._pause(0)
        return insist(
            partial(self._workshop.control.claim, queue, worker),
            patience_seconds=self._workshop.settings.claim_patience_seconds,
            pause=self._pause,
        )

    def _pause(self, seconds: float) -> None:
        """A worker that is going away claims nothing more."""
        if self._workshop.stopping.wait(seconds):
            raise NothingToDo
