"""Doorbells that are still to be rung. A row is written in the transaction of its job; the relay publishes it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Identity, String, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from api_server.database import Base, HasCreatedAt
from platform_kit.contract.jobs import Queue

CHANNEL = "outbox"
"""The NOTIFY channel that wakes the relay."""


class Doorbell(HasCreatedAt, Base):
    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    job_id: Mapped[UUID]
    queue: Mapped[str] = mapped_column(String(20))
    not_before: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


async def ring(
    session: AsyncSession, *, job_id: UUID, queue: Queue, not_before: datetime | None = None
) -> None:
    """Have `run_job(job_id)` published once this transaction has committed, and not before `not_before`."""
    bell = Doorbell(job_id=job_id, queue=str(queue))
    if not_before is not None:
        bell.not_before = not_before
    session.add(bell)
    await session.flush()
    await session.execute(select(func.pg_notify(CHANNEL, "")))


async def take_due(session: AsyncSession, *, most: int = 100) -> list[Doorbell]:
    """Lock and delete the doorbells that are due; another relay skips them. A rollback puts them back."""
    found = await session.scalars(
        select(Doorbell)
        .where(Doorbell.not_before <= func.now())
        .order_by(Doorbell.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    bells = list(found.all())
    for bell in bells:
        await session.delete(bell)
    await session.flush()
    return bells
