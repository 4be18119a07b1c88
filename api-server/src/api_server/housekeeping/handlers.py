"""How a chore is seen from its job."""

from typing import Any

from api_server.database import AsyncSession
from api_server.jobs.models import Job
from platform_kit.contract.jobs import HousekeepingResult, HousekeepingSpec, JobResult, JobSpec
from platform_kit.contract.problem import ProblemDetail


class HousekeepingHandler:
    async def describe(self, session: AsyncSession, job: Job) -> JobSpec | ProblemDetail:
        return HousekeepingSpec(chore=job.request["chore"])

    async def succeed(self, session: AsyncSession, job: Job, result: JobResult) -> dict[str, Any]:
        return dict(result.counts) if isinstance(result, HousekeepingResult) else {}

    async def give_up(self, session: AsyncSession, job: Job, error: ProblemDetail | None) -> None:
        """Nothing depends on a chore; the schedule comes round again."""
