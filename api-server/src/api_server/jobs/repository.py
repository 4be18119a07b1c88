from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.auth.actor import Actor
from api_server.jobs.models import Job, JobEvent
from api_server.jobs.schemas import JobFilter
from api_server.outbox import Doorbell
from api_server.pagination import PageParams, Rows, fetch_page
from api_server.projects.access import visible_to
from platform_kit.contract.jobs import JobStatus

LIVE = (JobStatus.QUEUED, JobStatus.RUNNING)
REAPER_LOCK = 7_230_001
LONGEST_SILENCE = timedelta(minutes=10)


async def find(session: AsyncSession, job_id: UUID) -> Job | None:
    return await session.get(Job, job_id)


async def find_visible(session: AsyncSession, actor: Actor, job_id: UUID) -> Job | None:
    statement = select(Job).where(Job.id == job_id, visible_to(actor, Job.project_id))
    return await session.scalar(statement)


async def lock(session: AsyncSession, job_id: UUID) -> Job | None:
    return await session.scalar(
        select(Job).where(Job.id == job_id).with_for_update().execution_options(populate_existing=True)
    )


async def list_visible(
    session: AsyncSession, actor: Actor, filters: JobFilter, params: PageParams
) -> Rows[Job]:
    statement = select(Job).where(visible_to(actor, Job.project_id))
    for column, wanted in (
        (Job.kind, filters.kind),
        (Job.status, filters.status),
        (Job.project_id, filters.project_id),
        (Job.subject_id, filters.subject_id),
    ):
        if wanted is not None:
            statement = statement.where(column == wanted)
    sortable = {"created_at": Job.created_at, "status": Job.status, "kind": Job.kind}
    return await fetch_page(session, statement, params, sortable=sortable, id_column=Job.id)


async def queue_position(session: AsyncSession, job: Job) -> int | None:
    """1 for the job that is next in its queue; None unless it is waiting."""
    if job.status != JobStatus.QUEUED:
        return None
    ahead = select(func.count()).where(
        Job.queue == job.queue, Job.status == JobStatus.QUEUED, Job.created_at < job.created_at
    )
    return (await session.scalar(ahead) or 0) + 1


async def claim(session: AsyncSession, job_id: UUID, *, worker: str, lease_seconds: float) -> Job | None:
    """Give the job to `worker`, if it is waiting and due. One statement, so that only one of many callers gets it."""
    return await session.scalar(
        update(Job)
        .where(
            Job.id == job_id,
            Job.status == JobStatus.QUEUED,
            Job.waits_for.is_(None),
            Job.attempt < Job.max_attempts,
            or_(Job.not_before.is_(None), Job.not_before <= func.now()),
        )
        .values(
            status=JobStatus.RUNNING,
            attempt=Job.attempt + 1,
            lease_owner=worker,
            lease_until=func.now() + timedelta(seconds=lease_seconds),
            heartbeat_at=func.now(),
            not_before=None,
            progress=None,
            started_at=func.coalesce(Job.started_at, func.now()),
        )
        .returning(Job)
        .execution_options(populate_existing=True)
    )


async def hold(
    session: AsyncSession, job_id: UUID, *, worker: str, attempt: int, lease_seconds: float
) -> Job | None:
    """Renew the lease of the current attempt; also of one that lapsed and that nobody has claimed since."""
    return await session.scalar(
        update(Job)
        .where(
            Job.id == job_id,
            Job.attempt == attempt,
            Job.lease_owner == worker,
            Job.status.in_(LIVE),
        )
        .values(
            status=JobStatus.RUNNING,
            lease_until=func.now() + timedelta(seconds=lease_seconds),
            heartbeat_at=func.now(),
            not_before=None,
        )
        .returning(Job)
        .execution_options(populate_existing=True)
    )


async def lock_lapsed(session: AsyncSession) -> Sequence[Job]:
    """Running jobs whose lease has ended; another reaper skips them."""
    found = await session.scalars(
        select(Job)
        .where(Job.status == JobStatus.RUNNING, Job.lease_until < func.now())
        .order_by(Job.lease_until)
        .limit(100)
        .with_for_update(skip_locked=True)
    )
    return found.all()


async def lock_unanswered(session: AsyncSession, *, after_seconds: float) -> Sequence[Job]:
    """Waiting jobs whose doorbell nobody answered; the wait doubles with each ring, up to LONGEST_SILENCE."""
    patience = func.least(
        timedelta(seconds=after_seconds) * func.power(2.0, func.least(Job.rings, 10)), LONGEST_SILENCE
    )
    pending = select(Doorbell.job_id).where(Doorbell.job_id == Job.id).exists()
    found = await session.scalars(
        select(Job)
        .where(
            Job.status == JobStatus.QUEUED,
            Job.waits_for.is_(None),
            or_(Job.not_before.is_(None), Job.not_before <= func.now()),
            func.coalesce(Job.doorbell_at, Job.created_at) < func.now() - patience,
            ~pending,
        )
        .order_by(Job.created_at)
        .limit(100)
        .with_for_update(skip_locked=True)
    )
    return found.all()


async def lock_waiting_for(session: AsyncSession, subject_id: UUID) -> Sequence[Job]:
    found = await session.scalars(
        select(Job).where(Job.waits_for == subject_id, Job.status == JobStatus.QUEUED).with_for_update()
    )
    return found.all()


async def try_reaper_lock(session: AsyncSession) -> bool:
    return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(REAPER_LOCK))))


async def mark_rung(session: AsyncSession, job_ids: Sequence[UUID]) -> None:
    await session.execute(
        update(Job).where(Job.id.in_(job_ids)).values(doorbell_at=func.now(), rings=Job.rings + 1)
    )


async def add_event(session: AsyncSession, job: Job, kind: str, body: dict[str, Any]) -> None:
    session.add(JobEvent(job_id=job.id, attempt=job.attempt, type=kind, body=body))
    await session.flush()


async def events_after(
    session: AsyncSession, job_id: UUID, last_id: int, *, most: int = 500
) -> Sequence[JobEvent]:
    found = await session.scalars(
        select(JobEvent)
        .where(JobEvent.job_id == job_id, JobEvent.id > last_id)
        .order_by(JobEvent.id)
        .limit(most)
    )
    return found.all()


async def delete_old_events(session: AsyncSession, *, days: int) -> int:
    """Forget the events of jobs that ended more than `days` ago; returns how many."""
    gone = await session.execute(
        text(
            "DELETE FROM job_events e USING jobs j WHERE e.job_id = j.id"
            " AND j.finished_at < now() - make_interval(days => :days)"
        ),
        {"days": days},
    )
    return int(getattr(gone, "rowcount", 0))
