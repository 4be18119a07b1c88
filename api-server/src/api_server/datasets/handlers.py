"""How a dataset version is profiled, seen from the job."""

from typing import Any
from uuid import UUID

from api_server.auth.actor import Actor
from api_server.database import AsyncSession
from api_server.datasets import service
from api_server.datasets.models import DatasetStatus
from api_server.jobs.errors import CannotBeDoneAgain
from api_server.jobs.models import Job
from platform_kit.contract.jobs import JobResult, JobSpec, ProfileResult, ProfileSpec
from platform_kit.contract.problem import ProblemDetail
from platform_kit.plumbing.problems import InvalidRequest

_GONE = ProblemDetail(
    title="Dataset not found",
    status=404,
    code="dataset_not_found",
    detail="The dataset was deleted meanwhile.",
)
_CANCELLED = ProblemDetail(
    title="Cancelled", status=409, code="cancelled", detail="Profiling was cancelled; upload the file again."
)


class ProfileHandler:
    async def describe(self, session: AsyncSession, job: Job) -> JobSpec | ProblemDetail:
        version = await service.version_by_id(session, job.subject_id)
        if version is None:
            return _GONE
        version.status = DatasetStatus.PROFILING
        return ProfileSpec(dataset=service.as_ref(version))

    async def succeed(self, session: AsyncSession, job: Job, result: JobResult) -> dict[str, Any]:
        version = await service.version_by_id(session, job.subject_id)
        if version is None or not isinstance(result, ProfileResult):
            raise InvalidRequest("The dataset was deleted meanwhile, or this is no profile.")
        version.columns = [each.model_dump(mode="json") for each in result.columns]
        version.statistics = result.statistics.model_dump(mode="json")
        version.preview = result.preview
        await service.settle(session, version, DatasetStatus.READY, None)
        return {"dataset_id": job.request["dataset_id"], "version": job.request["version"]}

    async def give_up(self, session: AsyncSession, job: Job, error: ProblemDetail | None) -> None:
        version = await service.version_by_id(session, job.subject_id)
        if version is None:
            return
        is_the_files_fault = error is not None and error.status == 422
        status = DatasetStatus.REJECTED if is_the_files_fault else DatasetStatus.FAILED
        await service.settle(session, version, status, error or _CANCELLED)

    async def prepare_again(self, session: AsyncSession, actor: Actor, job: Job) -> UUID | None:
        version = await service.version_by_id(session, job.subject_id)
        if version is None:
            raise CannotBeDoneAgain("The dataset was deleted meanwhile.")
        if version.job_id != job.id:
            raise CannotBeDoneAgain(f"Another job has profiled it since: {version.job_id}.")
        version.status, version.error = DatasetStatus.PENDING, None
        return None

    async def begun_again(self, session: AsyncSession, job: Job) -> None:
        version = await service.version_by_id(session, job.subject_id)
        if version is not None:
            version.job_id = job.id
