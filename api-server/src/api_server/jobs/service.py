"""The life of a job: submitted, claimed, held by heartbeats, ended once.

Every write of a worker carries its attempt number; a write with an old one is refused (`Fenced`).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from api_server import outbox
from api_server.audit_trail import PLATFORM, Deed, record
from api_server.auth.actor import Actor
from api_server.auth.permissions import Action, PlatformDeed
from api_server.database import AsyncSession, utc_now
from api_server.jobs import repository
from api_server.jobs.errors import Fenced, JobIsOver, JobNotFound, NothingToClaim
from api_server.jobs.handler import Handlers
from api_server.jobs.models import Job, JobEvent
from api_server.jobs.schemas import JobFilter
from api_server.pagination import PageParams, Rows
from api_server.projects import quotas
from api_server.projects import service as projects
from api_server.projects.quotas import Quota
from api_server.settings import Settings
from platform_kit.contract.jobs import (
    QUEUE_OF,
    Claim,
    Finish,
    Heartbeat,
    JobKind,
    JobStatus,
    LogLine,
    Outcome,
    Progress,
    Queue,
)
from platform_kit.contract.problem import ProblemDetail

LONGEST_BACKOFF_SECONDS = 60.0


@dataclass(frozen=True)
class Work:
    """What is to be done, and for whom; subject_id: what it is about, as its kind's handler understands it."""

    kind: JobKind
    subject_id: UUID
    project_id: UUID | None
    created_by: UUID | None
    request: dict[str, Any]


async def submit(
    session: AsyncSession,
    *,
    work: Work,
    max_attempts: int,
    waits_for: UUID | None = None,
    most_at_once: int | None = None,
) -> Job:
    """Queue a job. Nothing is sent anywhere: the doorbell rings after this transaction has committed.

    most_at_once: the usual limit of jobs in a project, for a kind that counts; raises TooManyJobs.
    """
    if most_at_once is not None and work.project_id is not None:
        await quotas.require_room(session, work.project_id, Quota.JOBS_AT_ONCE, usual=most_at_once)
    job = Job(
        kind=work.kind,
        queue=QUEUE_OF[work.kind],
        status=JobStatus.QUEUED,
        subject_id=work.subject_id,
        project_id=work.project_id,
        created_by=work.created_by,
        request=work.request,
        max_attempts=max_attempts,
        waits_for=waits_for,
    )
    session.add(job)
    await session.flush()
    await _record_state(session, job)
    if waits_for is None:
        await _ring(session, job)
    return job


async def get(session: AsyncSession, actor: Actor, job_id: UUID) -> Job:
    job = await repository.find_visible(session, actor, job_id)
    if job is None:
        raise JobNotFound
    return job


async def find(session: AsyncSession, job_id: UUID) -> Job | None:
    return await repository.find(session, job_id)


async def list_jobs(session: AsyncSession, actor: Actor, filters: JobFilter, params: PageParams) -> Rows[Job]:
    return await repository.list_visible(session, actor, filters, params)


async def position(session: AsyncSession, job: Job) -> int | None:
    return await repository.queue_position(session, job)


async def cancel(session: AsyncSession, actor: Actor, job_id: UUID, handlers: Handlers) -> Job:
    """End a waiting job now; ask the worker of a running one to stop at its next heartbeat."""
    seen = await get(session, actor, job_id)
    if seen.project_id is not None:
        await projects.require(session, actor, seen.project_id, Action.JOB_CANCEL)
    job = await repository.lock(session, job_id)
    if job is None:
        raise JobNotFound
    if JobStatus(job.status).is_terminal:
        raise JobIsOver(f"The job is {job.status}; only a waiting or running job can be cancelled.")
    if not job.cancel_requested:
        record(session, actor.who, _deed(Action.JOB_CANCEL, job))
    job.cancel_requested = True
    if job.status == JobStatus.QUEUED:
        await _end(session, job, JobStatus.CANCELLED, error=None, handlers=handlers)
    return job


async def news(session: AsyncSession, job_id: UUID, last_id: int) -> tuple[Sequence[JobEvent], bool]:
    """What happened after event `last_id`, and whether the job was over when that was read."""
    job = await repository.find(session, job_id)
    is_over = job is None or JobStatus(job.status).is_terminal
    return await repository.events_after(session, job_id, last_id), is_over


async def claim(
    session: AsyncSession, job_id: UUID, *, worker: str, handlers: Handlers, settings: Settings
) -> Claim | None:
    """Give the job to a worker, with all it needs. None: the job cannot be run and has failed instead.

    Raises NothingToClaim when the doorbell was a repeat, or the job is over, taken or not due.
    """
    job = await repository.claim(session, job_id, worker=worker, lease_seconds=settings.job_lease_seconds)
    if job is None:
        raise NothingToClaim(f"Job {job_id} is not waiting to be run.")
    spec = await handlers[JobKind(job.kind)].describe(session, job)
    if isinstance(spec, ProblemDetail):
        await _end(session, job, JobStatus.FAILED, error=spec, handlers=handlers)
        return None
    await _record_state(session, job)
    return Claim(
        job_id=job.id,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        lease_seconds=settings.job_lease_seconds,
        heartbeat_seconds=settings.job_heartbeat_seconds,
        time_limit_seconds=settings.job_time_limit_seconds,
        memory_limit_bytes=settings.job_memory_limit_bytes,
        spec=spec,
    )


async def heartbeat(session: AsyncSession, job_id: UUID, beat: Heartbeat, *, lease_seconds: float) -> bool:
    """Renew the lease and record what happened since; returns whether the job is to be cancelled."""
    job = await _hold(session, job_id, beat.worker, beat.attempt, lease_seconds)
    await _record(session, job, beat.progress, beat.logs)
    return job.cancel_requested


async def finish(session: AsyncSession, job_id: UUID, end: Finish, *, handlers: Handlers) -> Job:
    """Record how an attempt ended: its one effect, another attempt, or the reason why there is none."""
    job = await _hold(session, job_id, end.worker, end.attempt, 60)
    await _record(session, job, end.progress, end.logs)
    match end.outcome:
        case Outcome.SUCCEEDED if end.result is not None:
            job.result = await handlers[JobKind(job.kind)].succeed(session, job, end.result)
            job.progress = Progress(percent=100, stage="done").model_dump()
            await _end(session, job, JobStatus.SUCCEEDED, error=None, handlers=handlers)
        case Outcome.CANCELLED:
            await _end(session, job, JobStatus.CANCELLED, error=None, handlers=handlers)
        case Outcome.RELEASED:
            job.max_attempts += 1
            await _requeue(session, job, error=None, handlers=handlers, delay_seconds=0)
        case Outcome.INTERRUPTED:
            await _requeue(
                session, job, error=end.error, handlers=handlers, delay_seconds=_backoff(job.attempt)
            )
        case Outcome.FAILED | Outcome.SUCCEEDED:
            error = end.error or _problem("internal_error", "The worker gave no reason.")
            await _end(session, job, JobStatus.FAILED, error=error, handlers=handlers)
    return job


async def release_waiting(session: AsyncSession, subject_id: UUID) -> None:
    """What jobs waited for has come, or will never come: let a worker see them now."""
    for job in await repository.lock_waiting_for(session, subject_id):
        job.waits_for = None
        await _ring(session, job)


async def reap(session: AsyncSession, *, handlers: Handlers, rering_seconds: float) -> tuple[int, int]:
    """Re-queue jobs whose worker was lost and ring again where nobody came; returns both counts."""
    if not await repository.try_reaper_lock(session):
        return 0, 0
    lapsed = await repository.lock_lapsed(session)
    for job in lapsed:
        lost = _problem("worker_lost", f"The worker of attempt {job.attempt} stopped answering.")
        await _requeue(session, job, error=lost, handlers=handlers, delay_seconds=0)
    unanswered = await repository.lock_unanswered(session, after_seconds=rering_seconds)
    for job in unanswered:
        await _ring(session, job)
    return len(lapsed), len(unanswered)


async def rung(session: AsyncSession, job_ids: list[UUID]) -> None:
    await repository.mark_rung(session, job_ids)


async def forget_events(session: AsyncSession, *, days: int) -> int:
    """Delete the events of jobs that ended more than `days` ago; the jobs stay."""
    return await repository.delete_old_events(session, days=days)


async def _hold(session: AsyncSession, job_id: UUID, worker: str, attempt: int, lease_seconds: float) -> Job:
    job = await repository.hold(session, job_id, worker=worker, attempt=attempt, lease_seconds=lease_seconds)
    if job is None:
        raise Fenced(f"Attempt {attempt} of job {job_id} is not the current one; stop and write nothing.")
    return job


async def _record(session: AsyncSession, job: Job, progress: list[Progress], logs: list[LogLine]) -> None:
    for step in progress:
        job.progress = step.model_dump()
        await repository.add_event(session, job, "progress", step.model_dump())
    for line in logs:
        await repository.add_event(session, job, "log", line.model_dump(mode="json"))


async def _requeue(
    session: AsyncSession, job: Job, *, error: ProblemDetail | None, handlers: Handlers, delay_seconds: float
) -> None:
    if job.cancel_requested:
        await _end(session, job, JobStatus.CANCELLED, error=None, handlers=handlers)
        return
    if job.attempt >= job.max_attempts:
        last = error or _problem("worker_lost", "The worker was lost.")
        await _end(session, job, JobStatus.FAILED, error=last, handlers=handlers)
        return
    job.status = JobStatus.QUEUED
    job.not_before = utc_now() + timedelta(seconds=delay_seconds) if delay_seconds else None
    job.progress = None
    await _record_state(session, job, error=error)
    await _ring(session, job)


async def _end(
    session: AsyncSession, job: Job, status: JobStatus, *, error: ProblemDetail | None, handlers: Handlers
) -> None:
    job.status = status
    job.error = error.model_dump(mode="json", exclude_none=True) if error else None
    job.finished_at = utc_now()
    job.lease_until = None
    job.waits_for = None
    if status is not JobStatus.SUCCEEDED:
        await handlers[JobKind(job.kind)].give_up(session, job, error)
    if status is JobStatus.FAILED:
        record(session, PLATFORM, _deed(PlatformDeed.JOB_FAILED, job, code=error.code if error else None))
    await _record_state(session, job, error=error)


async def _record_state(session: AsyncSession, job: Job, *, error: ProblemDetail | None = None) -> None:
    body: dict[str, Any] = {"status": job.status, "attempt": job.attempt, "max_attempts": job.max_attempts}
    if error is not None:
        body["error"] = error.model_dump(mode="json", exclude_none=True)
    await repository.add_event(session, job, "state", body)


async def _ring(session: AsyncSession, job: Job) -> None:
    await outbox.ring(session, job_id=job.id, queue=Queue(job.queue), not_before=job.not_before)


def _deed(action: str, job: Job, **details: Any) -> Deed:
    return Deed(action, "job", str(job.id), project_id=job.project_id, details={"kind": job.kind, **details})


def _backoff(attempt: int) -> float:
    """Full jitter: a crowd of failed attempts does not come back as a crowd."""
    return random.uniform(0, min(LONGEST_BACKOFF_SECONDS, 2.0**attempt))  # noqa: S311  # spreads retries, hides nothing


def _problem(code: str, detail: str) -> ProblemDetail:
    return ProblemDetail(title="Job failed", status=500, code=code, detail=detail)
