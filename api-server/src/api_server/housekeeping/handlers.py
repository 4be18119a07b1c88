"""How a chore is seen from its job."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from api_server.auth.actor import Actor
from api_server.database import AsyncSession
from api_server.housekeeping import service
from api_server.housekeeping.chores import CHORES, Chore
from api_server.jobs.models import Job
from platform_kit.contract.jobs import HousekeepingResult, HousekeepingSpec, JobResult, JobSpec
from platform_kit.contract.problem import ProblemDetail

_UNKNOWN = ProblemDetail(
    title="Nothing to do",
    status=404,
    code="not_found",
    detail="This version of the platform knows no chore of this name.",
)


class HousekeepingHandler:
    def __init__(self, chores: Mapping[str, Chore] = CHORES) -> None:
        self._chores = chores

    async def describe(self, session: AsyncSession, job: Job) -> JobSpec | ProblemDetail:
        chore = job.request["chore"]
        return HousekeepingSpec(chore=chore) if chore in self._chores else _UNKNOWN

    async def succeed(self, session: AsyncSession, job: Job, result: JobResult) -> dict[str, Any]:
        counts = dict(result.counts) if isinstance(result, HousekeepingResult) else {}
        return {"chore": job.request["chore"], "counts": counts}

    async def give_up(self, session: AsyncSession, job: Job, error: ProblemDetail | None) -> None:
        """Nothing depends on a chore; the schedule comes round again."""

    async def prepare_again(self, session: AsyncSession, actor: Actor, job: Job) -> UUID | None:
        await service.require_idle(session, job.request["chore"])
        return None

    async def begun_again(self, session: AsyncSession, job: Job) -> None:
        """It is about nothing that would have to follow it."""
