"""What happened to a job: its attempts and its events."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.jobs.models import AttemptEnd, Job, JobAttempt, JobEvent

LOG = "log"


async def begin_attempt(session: AsyncSession, job: Job, worker: str) -> None:
    session.add(
        JobAttempt(job_id=job.id, number=job.attempt, worker=worker, started_at=job.claimed_at, error=None)
    )
    await session.flush()


async def end_attempt(
    session: AsyncSession, job: Job, outcome: AttemptEnd, error: dict[str, Any] | None = None
) -> None:
    await session.execute(
        update(JobAttempt)
        .where(JobAttempt.job_id == job.id, JobAttempt.number == job.attempt)
        .values(ended_at=func.now(), outcome=outcome, error=error)
    )


async def take_up_lost_attempt(session: AsyncSession, job: Job) -> bool:
    """Go on with the current attempt as if it had not been given up; whether it had been."""
    found = await session.scalar(
        update(JobAttempt)
        .where(
            JobAttempt.job_id == job.id,
            JobAttempt.number == job.attempt,
            JobAttempt.outcome == AttemptEnd.LOST,
        )
        .values(ended_at=None, outcome=None, error=None)
        .returning(JobAttempt.number)
    )
    return found is not None


async def attempts(session: AsyncSession, job_id: UUID) -> Sequence[JobAttempt]:
    found = await session.scalars(
        select(JobAttempt).where(JobAttempt.job_id == job_id).order_by(JobAttempt.number)
    )
    return found.all()


async def add_events(session: AsyncSession, job: Job, *events: tuple[str, dict[str, Any]]) -> None:
    """Events of the current attempt, in their order: each its type and body."""
    session.add_all(
        JobEvent(job_id=job.id, attempt=job.attempt, type=kind, body=body) for kind, body in events
    )
    await session.flush()


async def events_after(
    session: AsyncSession, job_id: UUID, last_id: int, *, kind: str | None = None, most: int = 500
) -> Sequence[JobEvent]:
    statement = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.id > last_id)
    if kind is not None:
        statement = statement.where(JobEvent.type == kind)
    return (await session.scalars(statement.order_by(JobEvent.id).limit(most))).all()


async def delete_old_events(session: AsyncSession, *, days: int, most: int) -> int:
    """Forget the events of jobs that ended more than `days` ago, so many at a time; returns how many."""
    gone = await session.execute(
        text(
            "DELETE FROM job_events WHERE id IN (SELECT e.id FROM job_events e JOIN jobs j ON j.id = e.job_id"
            " WHERE e.created_at < now() - make_interval(days => :days)"
            " AND j.finished_at < now() - make_interval(days => :days) LIMIT :most)"
        ),
        {"days": days, "most": most},
    )
    return int(getattr(gone, "rowcount", 0))
