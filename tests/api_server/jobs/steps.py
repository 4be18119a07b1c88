"""What the tests of jobs do to them, and look at, beside the API."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from api_server.database import Sessions, transaction, utc_now
from api_server.handlers import HANDLERS
from api_server.jobs import leases
from api_server.jobs.leases import Reaped
from api_server.jobs.models import Job
from api_server.outbox import Doorbell
from api_server.settings import Settings
from platform_kit.contract.jobs import Queue
from tests.api_server.factories import SignedIn

NO_BELLS = dict.fromkeys(Queue, 0)


async def change(sessions: Sessions, job_id: str, **values: Any) -> None:
    async with transaction(sessions) as session:
        await session.execute(update(Job).where(Job.id == UUID(job_id)).values(**values))


async def lapse(sessions: Sessions, job_id: str, *, seconds: float = 60) -> None:
    """Let the lease have ended so long ago."""
    await change(sessions, job_id, lease_until=utc_now() - timedelta(seconds=seconds))


async def reap(
    sessions: Sessions, *, rering_seconds: float = 20, bells_out: Mapping[Queue, int] = NO_BELLS
) -> Reaped:
    settings = Settings.from_environment().model_copy(update={"job_rering_seconds": rering_seconds})
    async with transaction(sessions) as session:
        return await leases.reap(session, handlers=HANDLERS, settings=settings, bells_out=bells_out)


async def bells(sessions: Sessions, job_id: str) -> int:
    async with transaction(sessions) as session:
        counted = select(func.count()).select_from(Doorbell).where(Doorbell.job_id == UUID(job_id))
        return await session.scalar(counted) or 0


async def read(who: SignedIn, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await who.http.get(f"/jobs/{job_id}")).json()
    return found
