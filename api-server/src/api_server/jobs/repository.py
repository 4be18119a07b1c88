from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.auth.actor import Actor
from api_server.jobs.models import Job
from api_server.jobs.schemas import JobFilter
from api_server.jobs.turns import is_waiting
from api_server.outbox import Doorbell
from api_server.pagination import PageParams, Rows, fetch_page
from api_server.projects.access import visible_to
from platform_kit.contract.jobs import JobKind, JobStatus

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
        (Job.queue, filters.queue),
        (Job.project_id, filters.project_id),
        (Job.model_id, filters.model_id),
        (Job.dataset_id, filters.dataset_id),
        (Job.created_by, filters.created_by),
        (Job.error["code"].astext, filters.error_code),
    ):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if filters.since is not None:
        statement = statement.where(Job.created_at >= filters.since)
    if filters.until is not None:
        statement = statement.where(Job.created_at < filters.until)
    sortable = {
        "created_at": Job.created_at,
        "status": Job.status,
        "kind": Job.kind,
        "priority": Job.priority,
    }
    return await fetch_page(session, statement, params, sortable=sortable, id_column=Job.id)


async def take(session: AsyncSession, job_id: UUID, *, worker: str, lease_seconds: float) -> Job | None:
    """Give the job to a worker, if it still waits and nobody else is just taking it."""
    free = select(Job.id).where(Job.id == job_id, is_waiting()).with_for_update(skip_locked=True)
    return await session.scalar(
        update(Job)
        .where(Job.id == free.scalar_subquery())
        .values(
            status=JobStatus.RUNNING,
            attempt=Job.attempt + 1,
            lease_owner=worker,
            lease_until=func.now() + timedelta(seconds=lease_seconds),
            heartbeat_at=func.now(),
            claimed_at=func.now(),
            not_before=None,
            progress=None,
            started_at=func.coalesce(Job.started_at, func.now()),
        )
        .returning(Job)
        .execution_options(populate_existing=True)
    )


async def renew_claim(session: AsyncSession, worker: str, *, lease_seconds: float) -> Job | None:
    """The job that this very claim got before, if it did not hear so."""
    return await session.scalar(
        update(Job)
        .where(Job.status == literal(str(JobStatus.RUNNING), literal_execute=True), Job.lease_owner == worker)
        .values(lease_until=func.now() + timedelta(seconds=lease_seconds), heartbeat_at=func.now())
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
            is_waiting(),
            func.coalesce(Job.doorbell_at, Job.created_at) < func.now() - patience,
            ~pending,
        )
        .order_by(Job.created_at)
        .limit(100)
        .with_for_update(skip_locked=True)
    )
    return found.all()


async def lock_about(session: AsyncSession, subject_ids: Sequence[UUID]) -> Sequence[Job]:
    """Unfinished jobs about any of these."""
    found = await session.scalars(
        select(Job)
        .where(Job.subject_id.in_(subject_ids), Job.status.in_(LIVE))
        .order_by(Job.id)
        .with_for_update()
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


async def delete_old_housekeeping(session: AsyncSession, *, days: int, most: int) -> int:
    """Forget jobs of housekeeping that ended more than `days` ago, with all about them; returns how many."""
    old = (
        select(Job.id)
        .where(Job.kind == JobKind.HOUSEKEEPING, Job.finished_at < func.now() - timedelta(days=days))
        .limit(most)
    )
    gone = await session.scalars(delete(Job).where(Job.id.in_(old)).returning(Job.id))
    return len(gone.all())
