from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.housekeeping.models import PlatformFigure
from api_server.jobs.models import Job
from platform_kit.contract.jobs import LIVE, JobKind

_chore = Job.request["chore"].astext


async def lock_chore(session: AsyncSession, name: str) -> None:
    """Until the end of the transaction nobody else may start this chore."""
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"chore:{name}", 0))))


async def find_live_job(session: AsyncSession, name: str) -> Job | None:
    statement = select(Job).where(Job.status.in_(LIVE), Job.kind == JobKind.HOUSEKEEPING, _chore == name)
    return await session.scalar(statement.limit(1))


async def last_jobs(session: AsyncSession) -> dict[str, Job]:
    """Of each chore the job that was submitted last."""
    found = await session.scalars(
        select(Job)
        .where(Job.kind == JobKind.HOUSEKEEPING)
        .ext(distinct_on(_chore))
        .order_by(_chore, Job.created_at.desc())
    )
    return {job.request["chore"]: job for job in found}


async def ask(session: AsyncSession, sql: str) -> Sequence[Sequence[Any]]:
    return (await session.execute(text(sql))).all()


async def write_figures(session: AsyncSession, values: Mapping[str, float]) -> None:
    """Keep these, with the time of this transaction, and none else."""
    rows = [{"name": name, "value": value, "measured_at": func.now()} for name, value in values.items()]
    statement = insert(PlatformFigure).values(rows)
    changed = {"value": statement.excluded.value, "measured_at": statement.excluded.measured_at}
    await session.execute(statement.on_conflict_do_update(index_elements=["name"], set_=changed))
    await session.execute(delete(PlatformFigure).where(PlatformFigure.name.not_in(list(values))))


async def read_figures(session: AsyncSession) -> tuple[dict[str, float], datetime | None]:
    """All figures, and when they were measured; None: never."""
    found = (await session.scalars(select(PlatformFigure))).all()
    measured_at = max((each.measured_at for each in found), default=None)
    return {each.name: each.value for each in found}, measured_at
