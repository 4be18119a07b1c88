"""What the tests of jobs do to them, and look at, beside the API."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from api_server.database import Sessions, transaction, utc_now
from api_server.handlers import HANDLERS
from api_server.jobs import leases
from api_server.jobs.models import Job
from api_server.outbox import Doorbell
from tests.api_server.factories import SignedIn


async def change(sessions: Sessions, job_id: str, **values: Any) -> None:
    async with transaction(sessions) as session:
        await session.execute(update(Job).where(Job.id == UUID(job_id)).values(**values))


async def lapse(sessions: Sessions, job_id: str) -> None:
    await change(sessions, job_id, lease_until=utc_now() - timedelta(seconds=1))


async def reap(sessions: Sessions, *, rering_seconds: float = 20) -> tuple[int, int]:
    async with transaction(sessions) as session:
        return await leases.reap(session, handlers=HANDLERS, rering_seconds=rering_seconds)


async def bells(sessions: Sessions, job_id: str) -> int:
    async with transaction(sessions) as session:
        counted = select(func.count()).select_from(Doorbell).where(Doorbell.job_id == UUID(job_id))
        return await session.scalar(counted) or 0


async def read(who: SignedIn, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await who.http.get(f"/jobs/{job_id}")).json()
    return found
