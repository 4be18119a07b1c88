"""One attempt at one chore, from the claim to the end that is handed in; its lease is kept meanwhile."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import uuid4

import structlog

from api_server.database import AsyncSession, DatabaseUnavailable, transaction
from api_server.housekeeping.chores import CHORES, AtOnce, Chore, Counts, Place
from api_server.jobs import leases
from api_server.jobs.errors import Fenced
from api_server.jobs.handler import Handlers
from platform_kit.contract.access import Notice, NoticeKind
from platform_kit.contract.jobs import (
    Claim,
    Finish,
    Heartbeat,
    HousekeepingResult,
    HousekeepingSpec,
    LogLine,
    Outcome,
    Progress,
    Queue,
    job_problem,
)
from platform_kit.contract.problem import ProblemDetail
from platform_kit.plumbing.object_store import StorageUnavailable

LIVE_SECONDS = 0.3
"""Progress is passed on at most this often."""
PAUSE_SECONDS = 0.5
"""Between two attempts at a database that does not answer."""
STOP_SECONDS = 5.0
"""What work that was told to stop may take for that."""

log = structlog.get_logger(__name__)


class ChoreRunner:
    def __init__(
        self, place: Place, handlers: Handlers, *, worker: str, chores: Mapping[str, Chore] = CHORES
    ) -> None:
        self._place, self._handlers, self._worker, self._chores = place, handlers, worker, chores
        self._attempts: set[Attempt] = set()
        self._is_stopping = False

    async def run(self) -> Outcome | None:
        """Do the chore whose turn it is; None when there is none, or when it was given to somebody else."""
        name = f"{self._worker}:{uuid4().hex[:8]}"
        claim = None if self._is_stopping else await self._claim(name)
        if claim is None:
            return None
        assert isinstance(claim.spec, HousekeepingSpec)  # no other kind is in this queue
        chore = self._chores[claim.spec.chore]
        attempt = Attempt(claim, chore, self._place, self._handlers, worker=name)
        self._attempts.add(attempt)
        if self._is_stopping:
            attempt.stop()
        try:
            with structlog.contextvars.bound_contextvars(
                job_id=str(claim.job_id), attempt=claim.attempt, chore=claim.spec.chore
            ):
                return await attempt.run()
        finally:
            self._attempts.discard(attempt)

    def stop(self) -> None:
        """The worker is going away: hand back what is under way, and begin nothing more."""
        self._is_stopping = True
        for each in self._attempts:
            each.stop()

    def hear(self, notices: Sequence[Notice]) -> None:
        told = {each.id for each in notices if each.kind is NoticeKind.JOB}
        for each in self._attempts:
            if each.job_id in told:
                each.ask_now()

    async def _claim(self, name: str) -> Claim | None:
        """If the answer to a claim is lost, the same name gets the same job again."""
        deadline = time.monotonic() + self._place.settings.job_lease_seconds
        while True:
            try:
                async with transaction(self._place.sessions) as session:
                    return await leases.claim(
                        session,
                        Queue.GENERAL,
                        worker=name,
                        handlers=self._handlers,
                        settings=self._place.settings,
                    )
            except DatabaseUnavailable:
                if self._is_stopping or time.monotonic() > deadline:
                    log.warning("chore.not_claimed", reason="database_unavailable")
                    return None
            await asyncio.sleep(PAUSE_SECONDS)


class _Stopped(Exception):
    """The attempt ends before its work does; `end` says how."""

    def __init__(self, outcome: Outcome, error: ProblemDetail | None = None) -> None:
        super().__init__(outcome)
        self.outcome, self.error = outcome, error


class Attempt:
    """is_ending: the work is done and its end is being written; from then on nothing interferes with it."""

    def __init__(self, claim: Claim, chore: Chore, place: Place, handlers: Handlers, *, worker: str) -> None:
        self.job_id, self._claim, self._chore = claim.job_id, claim, chore
        self._place, self._handlers, self._worker = place, handlers, worker
        self._wake, self._beating = asyncio.Event(), asyncio.Lock()
        self._progress: list[Progress] = []
        self._is_stopping = self._is_ending = self._is_asked = False
        self._last_beat = time.monotonic()

    def stop(self) -> None:
        self._is_stopping = True
        self._wake.set()

    def ask_now(self) -> None:
        """Send a heartbeat now: its answer may say that the job was cancelled."""
        self._is_asked = True
        self._wake.set()

    async def run(self) -> Outcome | None:
        """None: nothing was handed in, because somebody else has the job or the database stayed away."""
        started = time.monotonic()
        try:
            outcome = await self._work()
        except Fenced:
            outcome = None
        seconds = round(time.monotonic() - started, 3)
        log.info("chore.finished", outcome=outcome or "not_handed_in", seconds=seconds)
        return outcome

    async def _work(self) -> Outcome | None:
        work = asyncio.create_task(self._do())
        work.add_done_callback(lambda _: self._wake.set())
        try:
            await self._watch(work)
        except _Stopped as stopped:
            await _end(work)
            return await self._hand_in(stopped.outcome, error=stopped.error)
        except Fenced:
            await _end(work)
            raise
        return await self._outcome_of(work)

    async def _do(self) -> Counts | None:
        """None: the end is handed in already, in the transaction of the work itself."""
        work = self._chore.work
        if not isinstance(work, AtOnce):
            return await work.run(self._place, self._say)
        async with transaction(self._place.sessions) as session:
            counts = await work.run(session, self._place.settings, self._say)
            self._is_ending = True
            async with self._beating:  # a heartbeat that is under way
                pass
            await self._finish(session, Outcome.SUCCEEDED, counts=counts)
        log.info("chore.done", **counts)
        return None

    async def _outcome_of(self, work: "asyncio.Task[Counts | None]") -> Outcome | None:
        """How work that has come to its end by itself has ended. Raises Fenced."""
        try:
            counts = work.result()
        except Fenced:
            raise
        except DatabaseUnavailable as error:
            return await self._hand_in(Outcome.INTERRUPTED, error=job_problem(error.code, str(error)))
        except StorageUnavailable as error:
            detail = f"Object storage did not answer: {error}"[:500]
            return await self._hand_in(Outcome.INTERRUPTED, error=job_problem("storage_unavailable", detail))
        except Exception as error:  # the edge of the worker: whatever it is, the job must not be left hanging
            log.exception("chore.failed")
            detail = f"The chore failed with {type(error).__name__}; the log of the worker says where."
            return await self._hand_in(Outcome.FAILED, error=job_problem("internal_error", detail))
        if counts is None:
            return Outcome.SUCCEEDED
        log.info("chore.done", **counts)
        return await self._hand_in(Outcome.SUCCEEDED, counts=counts)

    async def _watch(self, work: "asyncio.Task[Counts | None]") -> None:
        """Keep the lease until the work is over. Raises _Stopped, Fenced."""
        deadline = time.monotonic() + self._claim.time_limit_seconds
        while not work.done():
            if self._is_ending:
                await asyncio.wait({work})
                return
            if self._is_stopping:
                raise _Stopped(Outcome.RELEASED)
            if time.monotonic() >= deadline:
                limit = f"{self._claim.time_limit_seconds:g}"
                raise _Stopped(Outcome.FAILED, job_problem("timeout", f"The job took longer than {limit} s."))
            if self._is_asked or time.monotonic() >= self._next_beat():
                await self._beat()
            else:
                await self._woken(min(deadline, self._next_beat()))

    def _next_beat(self) -> float:
        return self._last_beat + (LIVE_SECONDS if self._progress else self._claim.heartbeat_seconds)

    async def _woken(self, until: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _beat(self) -> None:
        """Raises _Stopped, Fenced."""
        self._is_asked, self._last_beat = False, time.monotonic()
        said, self._progress = self._progress, []
        beat = Heartbeat(worker=self._worker, attempt=self._claim.attempt, progress=said, logs=_logs(said))
        try:
            async with self._beating, transaction(self._place.sessions) as session:
                lease_seconds = self._place.settings.job_lease_seconds
                is_cancelled = await leases.heartbeat(session, self.job_id, beat, lease_seconds=lease_seconds)
        except DatabaseUnavailable:
            # The lease is renewed when the database is back, unless somebody else has the job by then.
            log.warning("chore.heartbeat_failed")
            self._progress = said + self._progress
            return
        if is_cancelled and not self._is_ending:
            raise _Stopped(Outcome.CANCELLED)

    def _say(self, percent: float, stage: str) -> None:
        self._progress.append(Progress(percent=percent, stage=stage[:100]))
        self._wake.set()

    async def _hand_in(
        self, outcome: Outcome, *, counts: Counts | None = None, error: ProblemDetail | None = None
    ) -> Outcome | None:
        """Write how it ended, and try again while the database is away; None: it stayed away. Raises Fenced.

        A worker that is going away does not wait for long: the lease runs out by itself.
        """
        patience = 1.0 if outcome is Outcome.RELEASED else self._place.settings.job_lease_seconds
        deadline = time.monotonic() + patience
        while True:
            try:
                async with transaction(self._place.sessions) as session:
                    await self._finish(session, outcome, counts=counts, error=error)
                return outcome
            except DatabaseUnavailable:
                if time.monotonic() > deadline:
                    return None
            await asyncio.sleep(PAUSE_SECONDS)

    async def _finish(
        self,
        session: AsyncSession,
        outcome: Outcome,
        *,
        counts: Counts | None = None,
        error: ProblemDetail | None = None,
    ) -> None:
        end = Finish(
            worker=self._worker,
            attempt=self._claim.attempt,
            outcome=outcome,
            error=error,
            result=None if counts is None else HousekeepingResult(counts=counts),
            progress=self._progress,
            logs=_logs(self._progress),
        )
        await leases.finish(session, self.job_id, end, handlers=self._handlers)


async def _end(work: "asyncio.Task[Counts | None]") -> None:
    """Stop the work, and wait until it has let go of what it holds."""
    work.cancel()
    await asyncio.wait({work}, timeout=STOP_SECONDS)
    if work.done() and not work.cancelled():
        log.info("chore.stopped", error=repr(work.exception()))


def _logs(progress: Sequence[Progress]) -> list[LogLine]:
    return [LogLine(at=datetime.now(UTC), message=each.stage) for each in progress]
