"""Starting chores, and what came of them."""

from collections.abc import Mapping
from uuid import UUID, uuid5

from api_server.audit_trail import record
from api_server.auth.actor import Actor
from api_server.auth.permissions import Action
from api_server.database import AsyncSession
from api_server.housekeeping import repository
from api_server.housekeeping.chores import CHORES
from api_server.housekeeping.errors import ChoreNotFound, ChoreUnderWay
from api_server.jobs import service as jobs
from api_server.jobs.models import Job
from api_server.jobs.service import Work
from api_server.jobs.transitions import deed
from api_server.settings import Settings
from platform_kit.contract.jobs import JobKind

_SUBJECTS = UUID("6f2f0a3e-6f0f-4b63-9f0e-1b6a3c8d2e57")
"""A chore is about nothing that has an id; its jobs have one subject, made of its name."""


async def require_idle(session: AsyncSession, name: str) -> None:
    """Nobody else can start it until this transaction ends. Raises ChoreNotFound, ChoreUnderWay."""
    if name not in CHORES:
        raise ChoreNotFound(f"There is no chore of this name; there are {', '.join(CHORES)}.")
    await repository.lock_chore(session, name)
    under_way = await repository.find_live_job(session, name)
    if under_way is not None:
        raise ChoreUnderWay(name, under_way)


async def start(
    session: AsyncSession, name: str, *, settings: Settings, created_by: UUID | None = None
) -> Job:
    """Submit a chore's job. Raises ChoreNotFound; ChoreUnderWay while the one before waits or runs."""
    await require_idle(session, name)
    return await jobs.submit(
        session,
        work=Work(
            kind=JobKind.HOUSEKEEPING,
            subject_id=uuid5(_SUBJECTS, name),
            project_id=None,
            created_by=created_by,
            request={"chore": name},
        ),
        max_attempts=settings.job_max_attempts,
    )


async def start_for(session: AsyncSession, actor: Actor, name: str, settings: Settings) -> Job:
    """Start it because somebody asked, and write that down."""
    job = await start(session, name, settings=settings, created_by=actor.user_id)
    record(session, actor.who, deed(Action.HOUSEKEEPING_START, job, chore=name))
    return job


async def last_jobs(session: AsyncSession) -> Mapping[str, Job]:
    return await repository.last_jobs(session)
