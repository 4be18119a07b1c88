"""How a model version is trained, seen from the job."""

from typing import Any
from uuid import UUID

from api_server.auth.actor import Actor
from api_server.database import AsyncSession
from api_server.datasets import service as datasets
from api_server.datasets.models import DatasetStatus
from api_server.jobs.errors import CannotBeDoneAgain
from api_server.jobs.handler import NotReadyYet
from api_server.jobs.models import Job
from api_server.registry import service as registry
from api_server.registry.models import ModelStatus
from platform_kit.contract.jobs import JobResult, JobSpec, TrainResult, TrainSpec
from platform_kit.contract.problem import ProblemDetail
from platform_kit.plumbing.problems import InvalidRequest

_GONE_TEXT = "The model or its dataset was deleted meanwhile."
_GONE = ProblemDetail(
    title="Nothing to train",
    status=404,
    code="not_found",
    detail=_GONE_TEXT,
)
_CANCELLED = ProblemDetail(
    title="Cancelled", status=409, code="cancelled", detail="The training was cancelled."
)


class TrainHandler:
    async def describe(self, session: AsyncSession, job: Job) -> JobSpec | ProblemDetail:
        request = dict(job.request)
        version = await datasets.hold_version(session, UUID(request.pop("dataset_version_id")))
        if version is None or await registry.lock(session, job.subject_id) is None:
            return _GONE
        if DatasetStatus(version.status).is_coming:
            raise NotReadyYet(version.id)
        if version.status != DatasetStatus.READY:
            return ProblemDetail.model_validate(version.error)
        parameters = dict(request.pop("parameters"))
        seed = parameters.pop("seed", 0)
        return TrainSpec(dataset=datasets.as_ref(version), parameters=parameters, seed=seed, **request)

    async def succeed(self, session: AsyncSession, job: Job, result: JobResult) -> dict[str, Any]:
        model = await registry.lock(session, job.subject_id)
        version = await datasets.version_by_id(session, UUID(job.request["dataset_version_id"]))
        if model is None or version is None or not isinstance(result, TrainResult):
            raise InvalidRequest("The model was deleted meanwhile, or this is no trained version.")
        if result.manifest.digest() != result.manifest_ref.digest:
            raise InvalidRequest("The manifest does not have the digest that it was sent under.")
        registered = await registry.register_version(
            session,
            model,
            job_id=job.id,
            dataset_version=version,
            manifest=result.manifest,
            ref=result.manifest_ref,
        )
        if model.job_id == job.id:
            model.status, model.error = ModelStatus.TRAINED, None
        return {
            "model_id": str(model.id),
            "version": registered.version,
            "dataset_id": str(version.dataset_id),
            "metrics": registered.metrics,
        }

    async def give_up(self, session: AsyncSession, job: Job, error: ProblemDetail | None) -> None:
        model = await registry.lock(session, job.subject_id)
        if model is None or model.job_id != job.id:
            return
        if error is None:
            model.status = ModelStatus.TRAINED if model.latest_version else ModelStatus.CREATED
        else:
            model.status = ModelStatus.FAILED
        model.error = (error or _CANCELLED).model_dump(mode="json", exclude_none=True)

    async def prepare_again(self, session: AsyncSession, actor: Actor, job: Job) -> UUID | None:
        version_id = UUID(job.request["dataset_version_id"])
        version = await datasets.hold_visible_version(session, actor, version_id)
        if version is None or await registry.lock(session, job.subject_id) is None:
            raise CannotBeDoneAgain(_GONE_TEXT)
        status = DatasetStatus(version.status)
        if status.is_coming:
            return version.id
        if status is not DatasetStatus.READY:
            raise CannotBeDoneAgain(f"Its dataset is {status}: upload a corrected file and train on that.")
        return None

    async def begun_again(self, session: AsyncSession, job: Job) -> None:
        model = await registry.lock(session, job.subject_id)
        if model is not None:
            model.job_id, model.status, model.error = job.id, ModelStatus.TRAINING, None
