"""Jobs as people and other rooms see them: submitted, followed, cancelled, tried again. Workers: `leases`."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from api_server.audit_trail import record
from api_server.auth.actor import Actor
from api_server.auth.permissions import Action
from api_server.database import AsyncSession
from api_server.jobs import history, repository, turns
from api_server.jobs.errors import CannotBeDoneAgain, JobHasBegun, JobIsNotOver, JobIsOver, JobNotFound
from api_server.jobs.handler import Handlers
from api_server.jobs.models import Job, JobAttempt, JobEvent
from api_server.jobs.schemas import JobFilter, JobOptions
from api_server.jobs.transitions import deed, end, record_state, ring
from api_server.notices import tell
from api_server.pagination import PageParams, Rows
from api_server.projects import quotas
from api_server.projects import service as projects
from api_server.projects.quotas import Quota
from api_server.settings import Settings
from platform_kit.contract.access import Notice, NoticeKind
from platform_kit.contract.jobs import QUEUE_OF, JobKind, JobStatus
from platform_kit.contract.problem import Issue, IssueCode
from platform_kit.plumbing.problems import InvalidRequest

PORTION, MOST_PORTIONS = 5_000, 100


@dataclass(frozen=True)
class Work:
    """What is to be done, and for whom.

    subject_id: what it is about, as its kind's handler understands it; model_id, dataset_id: the same for lists.
    """

    kind: JobKind
    subject_id: UUID
    project_id: UUID | None
    created_by: UUID | None
    request: dict[str, Any]
    model_id: UUID | None = None
    dataset_id: UUID | None = None
    options: JobOptions = field(default_factory=JobOptions)
    retry_of: UUID | None = None


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
        model_id=work.model_id,
        dataset_id=work.dataset_id,
        retry_of=work.retry_of,
        priority=work.options.priority,
        time_limit_seconds=work.options.time_limit_seconds,
        memory_limit_bytes=work.options.memory_limit_bytes,
        max_attempts=max_attempts,
        waits_for=waits_for,
    )
    session.add(job)
    await session.flush()
    await record_state(session, job)
    if waits_for is None:
        await ring(session, job)
    return job


def require_within_limits(options: JobOptions, settings: Settings, *, pointer: str) -> None:
    """A job may ask for less than the platform allows, never for more. Raises InvalidRequest."""
    limits = {
        "time_limit_seconds": settings.job_time_limit_seconds,
        "memory_limit_bytes": settings.job_memory_limit_bytes,
    }
    issues = [
        Issue(
            pointer=f"{pointer}/{name}",
            field=name,
            code=IssueCode.OUT_OF_RANGE,
            expected=f"at most {most:g}, which is the platform's own limit",
        )
        for name, most in limits.items()
        if most is not None and (getattr(options, name) or 0) > most
    ]
    if issues:
        raise InvalidRequest("A job cannot have more than the platform allows it.", errors=issues)


async def get(session: AsyncSession, actor: Actor, job_id: UUID) -> Job:
    job = await repository.find_visible(session, actor, job_id)
    if job is None:
        raise JobNotFound
    return job


async def find(session: AsyncSession, job_id: UUID) -> Job | None:
    return await repository.find(session, job_id)


async def list_jobs(session: AsyncSession, actor: Actor, filters: JobFilter, params: PageParams) -> Rows[Job]:
    return await repository.list_visible(session, actor, filters, params)


async def places(session: AsyncSession, jobs: Sequence[Job]) -> dict[UUID, int]:
    """Where jobs stand in their queues, counted from 1; one that runs, or may not run yet, has no place."""
    waiting = [job for job in jobs if job.status == JobStatus.QUEUED]
    found: dict[UUID, int] = {}
    for queue in {job.queue for job in waiting}:
        found |= await turns.places_in(session, queue, [job.id for job in waiting if job.queue == queue])
    return found


async def attempts(session: AsyncSession, actor: Actor, job_id: UUID) -> Sequence[JobAttempt]:
    return await history.attempts(session, (await get(session, actor, job_id)).id)


async def cancel(session: AsyncSession, actor: Actor, job_id: UUID, handlers: Handlers) -> Job:
    """End a waiting job now; ask the worker of a running one to stop: by a notice, or at its next heartbeat."""
    job = await _held(session, actor, job_id, Action.JOB_CANCEL)
    if JobStatus(job.status).is_terminal:
        raise JobIsOver(f"The job is {job.status}; only a waiting or running job can be cancelled.")
    if not job.cancel_requested:
        record(session, actor.who, deed(Action.JOB_CANCEL, job))
    await _call_off(session, job, handlers)
    return job


async def change_priority(session: AsyncSession, actor: Actor, job_id: UUID, priority: int) -> Job:
    """Let a waiting job go before, or after, other jobs of its project."""
    job = await _held(session, actor, job_id, Action.JOB_PRIORITIZE)
    if job.status != JobStatus.QUEUED:
        raise JobHasBegun(f"The job is {job.status}; a priority matters only while it waits.")
    if job.priority != priority:
        record(session, actor.who, deed(Action.JOB_PRIORITIZE, job, priority=priority))
        job.priority = priority
    return job


async def retry(
    session: AsyncSession, actor: Actor, job_id: UUID, handlers: Handlers, settings: Settings
) -> Job:
    """Do a failed or cancelled job again, as a new job that knows the old one."""
    old = await _held(session, actor, job_id, Action.JOB_RETRY)
    if old.status not in (JobStatus.FAILED, JobStatus.CANCELLED):
        raise JobIsNotOver(f"The job is {old.status}; only a failed or cancelled one can be tried again.")
    other = await repository.find_live_retry(session, old.id)
    if other is not None:
        raise CannotBeDoneAgain(f"Job {other.id} is doing it again already.")
    kind = JobKind(old.kind)
    waits_for = await handlers[kind].prepare_again(session, actor, old)
    new = await submit(
        session,
        work=_again(old, actor),
        max_attempts=settings.job_max_attempts,
        waits_for=waits_for,
        most_at_once=None if kind is JobKind.PROFILE else settings.quota_jobs_at_once,
    )
    await handlers[kind].begun_again(session, new)
    record(session, actor.who, deed(Action.JOB_RETRY, new, retry_of=str(old.id)))
    return new


async def abandon(session: AsyncSession, subject_ids: Sequence[UUID], handlers: Handlers) -> None:
    """Call off the jobs about something that is being deleted. Call it before that is locked: jobs come first."""
    for job in await repository.lock_about(session, subject_ids):
        await _call_off(session, job, handlers)


async def release_waiting(session: AsyncSession, subject_id: UUID) -> None:
    """What jobs waited for has come, or will never come: let a worker see them now."""
    for job in await repository.lock_waiting_for(session, subject_id):
        job.waits_for = None
        await ring(session, job)


async def news(session: AsyncSession, job_id: UUID, last_id: int) -> tuple[Sequence[JobEvent], bool]:
    """What happened after event `last_id`, and whether the job was over when that was read."""
    is_over = await _is_over(session, job_id)
    return await history.events_after(session, job_id, last_id), is_over


async def log_lines(
    session: AsyncSession, actor: Actor, job_id: UUID, last_id: int, *, most: int
) -> tuple[Sequence[JobEvent], bool]:
    """Lines of its log after event `last_id`, and whether there can be no more after these."""
    job = await get(session, actor, job_id)
    is_over = await _is_over(session, job.id)
    found = await history.events_after(session, job.id, last_id, kind=history.LOG, most=most)
    return found, is_over and len(found) < most


async def forget_events(session: AsyncSession, *, days: int) -> int:
    """Delete the events of jobs that ended more than `days` ago; the jobs stay."""
    return await _in_portions(lambda: history.delete_old_events(session, days=days, most=PORTION))


async def forget_housekeeping(session: AsyncSession, *, days: int) -> int:
    """Delete jobs of housekeeping that ended more than `days` ago: there is one more with each round."""
    return await _in_portions(lambda: repository.delete_old_housekeeping(session, days=days, most=PORTION))


async def _in_portions(delete: Callable[[], Awaitable[int]]) -> int:
    """Each statement has a time limit; what is left after so many comes next time."""
    total = 0
    for _ in range(MOST_PORTIONS):
        count = await delete()
        total += count
        if count < PORTION:
            break
    return total


async def _is_over(session: AsyncSession, job_id: UUID) -> bool:
    job = await repository.find(session, job_id)
    return job is None or JobStatus(job.status).is_terminal


async def _held(session: AsyncSession, actor: Actor, job_id: UUID, action: Action) -> Job:
    """A job that the actor may do this to, locked."""
    seen = await get(session, actor, job_id)
    if seen.project_id is not None:
        await projects.require(session, actor, seen.project_id, action)
    job = await repository.lock(session, job_id)
    if job is None:
        raise JobNotFound
    return job


async def _call_off(session: AsyncSession, job: Job, handlers: Handlers) -> None:
    job.cancel_requested = True
    if job.status == JobStatus.QUEUED:
        await end(session, job, JobStatus.CANCELLED, error=None, handlers=handlers)
    else:
        tell(session, Notice(kind=NoticeKind.JOB, id=job.id))


def _again(old: Job, actor: Actor) -> Work:
    options = JobOptions(
        priority=old.priority,
        time_limit_seconds=old.time_limit_seconds,
        memory_limit_bytes=old.memory_limit_bytes,
    )
    return Work(
        kind=JobKind(old.kind),
        subject_id=old.subject_id,
        project_id=old.project_id,
        created_by=actor.user_id,
        request=old.request,
        model_id=old.model_id,
        dataset_id=old.dataset_id,
        options=options,
        retry_of=old.id,
    )
