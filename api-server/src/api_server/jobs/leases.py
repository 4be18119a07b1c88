"""A worker's hold on a job: claimed, kept by heartbeats, handed in once; and taken back when the worker is lost.

Every write of a worker carries the name and number of its claim; one with an old number is refused (`Fenced`).
"""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog

from api_server.database import AsyncSession, is_of_the_database
from api_server.jobs import history, repository, turns
from api_server.jobs.errors import Fenced
from api_server.jobs.handler import Handlers, NotReadyYet
from api_server.jobs.models import AttemptEnd, Job
from api_server.jobs.transitions import end, plain, record_state, requeue, ring
from api_server.settings import Settings
from platform_kit.contract.jobs import (
    LIVE,
    Claim,
    Finish,
    Heartbeat,
    JobKind,
    JobSpec,
    JobStatus,
    LogLine,
    Outcome,
    Progress,
    Queue,
    job_problem,
)
from platform_kit.contract.problem import ProblemDetail

LONGEST_BACKOFF_SECONDS = 60.0
WAITED_FOR = 3
"""Of the jobs whose turn it is, so many are waited for when all were locked."""
MOST_RUNG_AT_ONCE = 100

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Claimant:
    """worker: the name of this very claim."""

    worker: str
    handlers: Handlers
    settings: Settings


Take = Callable[[AsyncSession, UUID, _Claimant], Awaitable[Job | None]]


async def claim(
    session: AsyncSession, queue: Queue, *, worker: str, handlers: Handlers, settings: Settings
) -> Claim | None:
    """Give the job whose turn it is to a worker, with all it needs; None when none waits.

    The same name gets the same job again, so that an answer which was lost on its way is not a job lost. What turns
    out not to be worth running, because what it is about is gone, fails on the way.
    """
    claimant = _Claimant(worker, handlers, settings)
    await repository.lock_claim(session, worker)
    again = await repository.find_claimed(session, worker)
    if again is not None:
        return await _start(session, again.id, claimant, _renew)
    candidates = await turns.next_in(session, queue)
    for take, job_ids in ((_take, candidates), (_take_patiently, candidates[:WAITED_FOR])):
        for job_id in job_ids:
            found = await _start(session, job_id, claimant, take)
            if found is not None:
                return found
    return None


async def _start(session: AsyncSession, job_id: UUID, claimant: _Claimant, take: Take) -> Claim | None:
    """Take one job and say what is to be done; whatever is wrong with it, the next one has its turn."""
    try:
        async with session.begin_nested():
            job = await take(session, job_id, claimant)
            return None if job is None else await _described(session, job, claimant)
    except NotReadyYet as unready:
        await _let_wait(session, job_id, unready.subject_id)
    except Exception as error:
        if is_of_the_database(error):
            raise
        log.exception("job.not_described", job_id=str(job_id))
        await _fail_undescribed(session, job_id, claimant.handlers)
    return None


async def _take(
    session: AsyncSession, job_id: UUID, claimant: _Claimant, *, patient: bool = False
) -> Job | None:
    lease_seconds = claimant.settings.job_lease_seconds
    job = await repository.take(
        session, job_id, worker=claimant.worker, lease_seconds=lease_seconds, patient=patient
    )
    if job is not None:
        await history.begin_attempt(session, job, claimant.worker)
        await record_state(session, job)
    return job


async def _take_patiently(session: AsyncSession, job_id: UUID, claimant: _Claimant) -> Job | None:
    """The doorbell is spent: what was locked for a moment would otherwise wait until it is rung again."""
    return await _take(session, job_id, claimant, patient=True)


async def _renew(session: AsyncSession, job_id: UUID, claimant: _Claimant) -> Job | None:
    lease_seconds = claimant.settings.job_lease_seconds
    return await repository.renew_claim(session, claimant.worker, lease_seconds=lease_seconds)


async def _described(session: AsyncSession, job: Job, claimant: _Claimant) -> Claim | None:
    """What the worker is to do; None: there is nothing to do any more, and the job has failed."""
    spec = await claimant.handlers[JobKind(job.kind)].describe(session, job)
    if not isinstance(spec, ProblemDetail):
        return _claim(job, spec, claimant.settings)
    await history.end_attempt(session, job, AttemptEnd.FAILED, plain(spec))
    await end(session, job, JobStatus.FAILED, error=spec, handlers=claimant.handlers)
    return None


async def _let_wait(session: AsyncSession, job_id: UUID, subject_id: UUID) -> None:
    """What it needs is being made anew: it rings when that is there, and this attempt was none."""
    job = await repository.lock(session, job_id)
    if job is not None and job.status == JobStatus.QUEUED:
        job.waits_for = subject_id
        await record_state(session, job)


async def _fail_undescribed(session: AsyncSession, job_id: UUID, handlers: Handlers) -> None:
    """A fault of ours must hold up no other job; if not even this can be recorded, the job is passed over."""
    error = job_problem(
        "internal_error", "The platform could not say what is to be done; its log has the cause."
    )
    try:
        async with session.begin_nested():
            job = await repository.lock(session, job_id)
            if job is not None and job.status in LIVE:
                await end(session, job, JobStatus.FAILED, error=error, handlers=handlers)
    except Exception as fault:
        if is_of_the_database(fault):
            raise
        log.exception("job.not_failed", job_id=str(job_id))


async def heartbeat(session: AsyncSession, job_id: UUID, beat: Heartbeat, *, lease_seconds: float) -> bool:
    """Renew the lease and record what happened since; returns whether the job is to be cancelled."""
    job = await _hold(session, job_id, beat.worker, beat.attempt, lease_seconds)
    if await history.take_up_lost_attempt(session, job):
        await record_state(session, job)
    await _record(session, job, beat.progress, beat.logs)
    return job.cancel_requested


async def finish(session: AsyncSession, job_id: UUID, last: Finish, *, handlers: Handlers) -> Job:
    """Record how an attempt ended: its one effect, another attempt, or the reason why there is none."""
    job = await _hold(session, job_id, last.worker, last.attempt, lease_seconds=60)
    # Handed in once: a repeat of this very message is fenced, also while the job waits for its next attempt.
    job.lease_owner = None
    await _record(session, job, last.progress, last.logs)
    await history.end_attempt(session, job, AttemptEnd(last.outcome), plain(last.error))
    match last.outcome:
        case outcome if job.cancel_requested and outcome is not Outcome.SUCCEEDED:
            await end(session, job, JobStatus.CANCELLED, error=None, handlers=handlers)
        case Outcome.SUCCEEDED if last.result is not None:
            job.result = await handlers[JobKind(job.kind)].succeed(session, job, last.result)
            job.progress = Progress(percent=100, stage="done").model_dump()
            await end(session, job, JobStatus.SUCCEEDED, error=None, handlers=handlers)
        case Outcome.CANCELLED:
            await end(session, job, JobStatus.CANCELLED, error=None, handlers=handlers)
        case Outcome.RELEASED:
            job.max_attempts += 1
            await requeue(session, job, error=None, handlers=handlers, delay_seconds=0)
        case Outcome.INTERRUPTED:
            delay = _backoff(job.attempt)
            await requeue(session, job, error=last.error, handlers=handlers, delay_seconds=delay)
        case Outcome.FAILED | Outcome.SUCCEEDED:
            error = last.error or job_problem("internal_error", "The worker gave no reason.")
            await end(session, job, JobStatus.FAILED, error=error, handlers=handlers)
    return job


@dataclass(frozen=True)
class Reaped:
    """How many jobs were taken from lost workers, rung for again, and let go on that had waited in vain."""

    lost: int = 0
    rung_again: int = 0
    let_go: int = 0

    def __bool__(self) -> bool:
        return bool(self.lost or self.rung_again or self.let_go)


async def reap(
    session: AsyncSession, *, handlers: Handlers, settings: Settings, bells_out: Mapping[Queue, int]
) -> Reaped:
    """Re-queue jobs whose worker was lost, and ring again where bells are missing.

    bells_out: how many doorbells the broker still holds for each queue that it could be asked about. Any of them
    serves any job, so that only as many are rung as there are fewer of them than waiting jobs.
    """
    if not await repository.try_reaper_lock(session):
        return Reaped()
    vain = await repository.lock_waiting_in_vain(session)
    for job in vain:
        job.waits_for = None
        await ring(session, job)
    lost = await _take_back(session, handlers, settings)
    rung = [await _ring_again(session, queue, out, settings) for queue, out in bells_out.items()]
    return Reaped(lost=lost, rung_again=sum(rung), let_go=len(vain))


async def _take_back(session: AsyncSession, handlers: Handlers, settings: Settings) -> int:
    grace_seconds = settings.job_lease_seconds / 2
    lapsed = await repository.lock_lapsed(session, last_grace_seconds=grace_seconds)
    for job_id, attempt in [(job.id, job.attempt) for job in lapsed]:
        try:
            async with session.begin_nested():
                await _lose(session, job_id, attempt, handlers)
        except Exception as error:
            if is_of_the_database(error):
                raise
            log.exception("job.not_taken_back", job_id=str(job_id))
    return len(lapsed)


async def _lose(session: AsyncSession, job_id: UUID, attempt: int, handlers: Handlers) -> None:
    job = await repository.lock(session, job_id)
    if job is None:
        return
    lost = job_problem("worker_lost", f"The worker of attempt {attempt} stopped answering.")
    await history.end_attempt(session, job, AttemptEnd.LOST, plain(lost))
    await requeue(session, job, error=lost, handlers=handlers, delay_seconds=0)


async def _ring_again(session: AsyncSession, queue: Queue, out: int, settings: Settings) -> int:
    missing = await repository.count_without_bell(session, queue) - out
    if missing <= 0:
        return 0
    most = min(missing, MOST_RUNG_AT_ONCE)
    unanswered = await repository.lock_unanswered(
        session, queue, after_seconds=settings.job_rering_seconds, most=most
    )
    for job in unanswered:
        await ring(session, job)
    return len(unanswered)


async def rung(session: AsyncSession, job_ids: list[UUID]) -> None:
    """Note that the doorbells of these jobs were published."""
    await repository.mark_rung(session, job_ids)


async def _hold(session: AsyncSession, job_id: UUID, worker: str, attempt: int, lease_seconds: float) -> Job:
    job = await repository.hold(session, job_id, worker=worker, attempt=attempt, lease_seconds=lease_seconds)
    if job is None:
        raise Fenced(f"Attempt {attempt} of job {job_id} is not the current one; stop and write nothing.")
    return job


async def _record(session: AsyncSession, job: Job, progress: list[Progress], logs: list[LogLine]) -> None:
    if progress:
        job.progress = progress[-1].model_dump()
    steps = [("progress", step.model_dump()) for step in progress]
    lines = [(history.LOG, line.model_dump(mode="json")) for line in logs]
    await history.add_events(session, job, *steps, *lines)


def _claim(job: Job, spec: JobSpec, settings: Settings) -> Claim:
    return Claim(
        job_id=job.id,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        lease_seconds=settings.job_lease_seconds,
        heartbeat_seconds=settings.job_heartbeat_seconds,
        time_limit_seconds=min(
            job.time_limit_seconds or settings.job_time_limit_seconds, settings.job_time_limit_seconds
        ),
        memory_limit_bytes=min(
            (each for each in (job.memory_limit_bytes, settings.job_memory_limit_bytes) if each), default=None
        ),
        spec=spec,
    )


def _backoff(attempt: int) -> float:
    """Full jitter: a crowd of failed attempts does not come back as a crowd."""
    return random.uniform(0, min(LONGEST_BACKOFF_SECONDS, 2.0**attempt))  # noqa: S311  # spreads retries, hides nothing
