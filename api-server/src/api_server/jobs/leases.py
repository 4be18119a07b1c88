"""A worker's hold on a job: claimed, kept by heartbeats, handed in once; and taken back when the worker is lost.

Every write of a worker carries the name and number of its claim; one with an old number is refused (`Fenced`).
"""

import random
from uuid import UUID

from api_server.database import AsyncSession
from api_server.jobs import history, repository, turns
from api_server.jobs.errors import Fenced
from api_server.jobs.handler import Handlers
from api_server.jobs.models import AttemptEnd, Job
from api_server.jobs.transitions import end, plain, problem, record_state, requeue, ring
from api_server.settings import Settings
from platform_kit.contract.jobs import (
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
)
from platform_kit.contract.problem import ProblemDetail

LONGEST_BACKOFF_SECONDS = 60.0


async def claim(
    session: AsyncSession, queue: Queue, *, worker: str, handlers: Handlers, settings: Settings
) -> Claim | None:
    """Give the job whose turn it is to a worker, with all it needs; None when none waits.

    The same name gets the same job again, so that an answer which was lost on its way is not a job lost. What turns
    out not to be worth running, because what it is about is gone, fails on the way.
    """
    lease_seconds = settings.job_lease_seconds
    job = await repository.renew_claim(session, worker, lease_seconds=lease_seconds)
    if job is not None:
        return await _described(session, job, handlers, settings)
    for job_id in await turns.next_in(session, queue):
        job = await repository.take(session, job_id, worker=worker, lease_seconds=lease_seconds)
        if job is None:
            continue
        await history.begin_attempt(session, job, worker)
        found = await _described(session, job, handlers, settings)
        if found is not None:
            await record_state(session, job)
            return found
    return None


async def _described(session: AsyncSession, job: Job, handlers: Handlers, settings: Settings) -> Claim | None:
    """What the worker is to do; None: there is nothing to do any more, and the job has failed."""
    spec = await handlers[JobKind(job.kind)].describe(session, job)
    if not isinstance(spec, ProblemDetail):
        return _claim(job, spec, settings)
    await history.end_attempt(session, job, AttemptEnd.FAILED, plain(spec))
    await end(session, job, JobStatus.FAILED, error=spec, handlers=handlers)
    return None


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
            error = last.error or problem("internal_error", "The worker gave no reason.")
            await end(session, job, JobStatus.FAILED, error=error, handlers=handlers)
    return job


async def reap(session: AsyncSession, *, handlers: Handlers, rering_seconds: float) -> tuple[int, int]:
    """Re-queue jobs whose worker was lost and ring again where nobody came; returns both counts."""
    if not await repository.try_reaper_lock(session):
        return 0, 0
    lapsed = await repository.lock_lapsed(session)
    for job in lapsed:
        lost = problem("worker_lost", f"The worker of attempt {job.attempt} stopped answering.")
        await history.end_attempt(session, job, AttemptEnd.LOST, plain(lost))
        await requeue(session, job, error=lost, handlers=handlers, delay_seconds=0)
    unanswered = await repository.lock_unanswered(session, after_seconds=rering_seconds)
    for job in unanswered:
        await ring(session, job)
    return len(lapsed), len(unanswered)


async def rung(session: AsyncSession, job_ids: list[UUID]) -> None:
    """Note that the doorbells of these jobs were published."""
    await repository.mark_rung(session, job_ids)


async def _hold(session: AsyncSession, job_id: UUID, worker: str, attempt: int, lease_seconds: float) -> Job:
    job = await repository.hold(session, job_id, worker=worker, attempt=attempt, lease_seconds=lease_seconds)
    if job is None:
        raise Fenced(f"Attempt {attempt} of job {job_id} is not the current one; stop and write nothing.")
    return job


async def _record(session: AsyncSession, job: Job, progress: list[Progress], logs: list[LogLine]) -> None:
    for step in progress:
        job.progress = step.model_dump()
        await history.add_event(session, job, "progress", step.model_dump())
    for line in logs:
        await history.add_event(session, job, history.LOG, line.model_dump(mode="json"))


def _claim(job: Job, spec: JobSpec, settings: Settings) -> Claim:
    return Claim(
        job_id=job.id,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        lease_seconds=settings.job_lease_seconds,
        heartbeat_seconds=settings.job_heartbeat_seconds,
        time_limit_seconds=job.time_limit_seconds or settings.job_time_limit_seconds,
        memory_limit_bytes=job.memory_limit_bytes or settings.job_memory_limit_bytes,
        spec=spec,
    )


def _backoff(attempt: int) -> float:
    """Full jitter: a crowd of failed attempts does not come back as a crowd."""
    return random.uniform(0, min(LONGEST_BACKOFF_SECONDS, 2.0**attempt))  # noqa: S311  # spreads retries, hides nothing
