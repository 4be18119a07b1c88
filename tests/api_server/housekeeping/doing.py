"""How tests have a chore done, and look at its job."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select

from api_server.database import Sessions, transaction
from api_server.handlers import HANDLERS
from api_server.housekeeping.chores import CHORES, Chore, Counts, Place
from api_server.housekeeping.handlers import HousekeepingHandler
from api_server.housekeeping.runner import ChoreRunner
from api_server.jobs import service as jobs
from api_server.jobs.models import Job
from api_server.jobs.service import Work
from platform_kit.contract.jobs import JobKind


async def submit(sessions: Sessions, chore: str) -> Job:
    async with transaction(sessions) as session:
        return await jobs.submit(
            session,
            work=Work(
                kind=JobKind.HOUSEKEEPING,
                subject_id=uuid4(),
                project_id=None,
                created_by=None,
                request={"chore": chore},
            ),
            max_attempts=3,
        )


async def now(sessions: Sessions, job: Job) -> Job:
    async with transaction(sessions) as session:
        found = await jobs.find(session, job.id)
    assert found is not None
    return found


def runner(place: Place, **chores: Chore) -> ChoreRunner:
    """Of the platform's chores, and of these."""
    known = {**CHORES, **chores}
    handlers = {**HANDLERS, JobKind.HOUSEKEEPING: HousekeepingHandler(known)}
    return ChoreRunner(place, handlers, worker="general@test", chores=known)


async def done(place: Place, chore: str) -> Counts:
    """Have one of the platform's chores done as a job; returns its counts."""
    job = await submit(place.sessions, chore)
    await runner(place).run()
    ended = await now(place.sessions, job)
    assert (ended.status, (ended.result or {}).get("chore")) == ("succeeded", chore), ended.error
    counts: Counts = (ended.result or {})["counts"]
    return counts


async def until(fact: Callable[[], Awaitable[bool]], *, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not await fact():
            await asyncio.sleep(0.02)


async def count(sessions: Sessions, table: Any) -> int:
    async with transaction(sessions) as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0
