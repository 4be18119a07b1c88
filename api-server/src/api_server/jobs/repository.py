from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, func, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from api_server.auth.actor import Actor
from api_server.jobs.models import Job
from api_server.jobs.schemas import JobFilter
from api_server.jobs.turns import is_waiting
from api_server.outbox import Doorbell
from api_server.pagination import PageParams, Rows, fetch_page
from api_server.projects.access import visible_to
from platform_kit.contract.jobs import LIVE, JobKind, JobStatus

REAPER_LOCK, CLAIM_LOCKS = 7_230_001, 7_230_002


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


async def take(
    session: AsyncSession, job_id: UUID, *, worker: str, lease_seconds: float, patient: bool = False
) -> Job | None:
    """Give the job to a worker, if it still waits. One that is locked is passed over, unless `patient`."""
    free = select(Job.id).where(Job.id == job_id, is_waiting()).with_for_update(skip_locked=not patient)
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


async def lock_claim(session: AsyncSession, worker: str) -> None:
    """Let claims of one name come one after the other: a caller that got no answer may ask again too soon."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(worker, CLAIM_LOCKS))))


async def find_claimed(session: AsyncSession, worker: str) -> Job | None:
    """What this very claim got before, if it did not hear so."""
    running = Job.status == literal(str(JobStatus.RUNNING), literal_execute=True)
    return await session.scalar(select(Job).where(running, Job.lease_owner == worker))


async def renew_claim(session: AsyncSession, worker: str, *, lease_seconds: float) -> Job | None:
    """Give the same claim the same job once more."""
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


async def lock_lapsed(session: AsyncSession, *, last_grace_seconds: float) -> Sequence[Job]:
    """Running jobs whose lease has ended; another reaper skips them.

    last_grace_seconds: so much longer for the last attempt: an earlier one can still be taken up by its worker after
    an outage of api-server, this one would have failed.
    """
    grace = timedelta(seconds=last_grace_seconds)
    found = await session.scalars(
        select(Job)
        .where(
            Job.status == literal(str(JobStatus.RUNNING), literal_execute=True),
            Job.lease_until < func.now(),
            or_(Job.attempt < Job.max_attempts, Job.lease_until < func.now() - grace),
        )
        .order_by(Job.lease_until)
        .limit(100)
        .with_for_update(skip_locked=True)
    )
    return found.all()


_HAS_NO_BELL = ~select(Doorbell.job_id).where(Doorbell.job_id == Job.id).exists()
"""None is about to be published."""


async def count_without_bell(session: AsyncSession, queue: str) -> int:
    """How many jobs wait in a queue whose doorbell was published already."""
    counted = select(func.count()).where(Job.queue == queue, is_waiting(), _HAS_NO_BELL)
    return await session.scalar(counted) or 0


async def lock_unanswered(
    session: AsyncSession, queue: str, *, after_seconds: float, most: int
) -> Sequence[Job]:
    """Waiting jobs whose doorbell was not answered for so long, the oldest first."""
    heard = func.coalesce(Job.doorbell_at, Job.created_at)
    found = await session.scalars(
        select(Job)
        .where(
            Job.queue == queue,
            is_waiting(),
            heard < func.now() - timedelta(seconds=after_seconds),
            _HAS_NO_BELL,
        )
        .order_by(Job.created_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    return found.all()


async def lock_waiting_in_vain(session: AsyncSession) -> Sequence[Job]:
    """Jobs that wait for what no job is making any more."""
    maker = aliased(Job)
    is_made = select(maker.id).where(maker.subject_id == Job.waits_for, maker.status.in_(LIVE)).exists()
    found = await session.scalars(
        select(Job)
        .where(
            Job.status == literal(str(JobStatus.QUEUED), literal_execute=True),
            Job.waits_for.is_not(None),
            ~is_made,
        )
        .order_by(Job.id)
        .limit(100)
        .with_for_update(skip_locked=True)
    )
    return found.all()


async def find_live_retry(session: AsyncSession, job_id: UUID) -> Job | None:
    return await session.scalar(select(Job).where(Job.retry_of == job_id, Job.status.in_(LIVE)).limit(1))


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
        select(Job)
        .where(Job.waits_for == subject_id, Job.status == JobStatus.QUEUED)
        .order_by(Job.id)
        .with_for_update()
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
