from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api_server.registry.models import Model, ModelStatus, ModelVersion
from platform_kit.contract.algorithms import Framework
from platform_kit.contract.artifact import Manifest, Task
from platform_kit.contract.problem import ProblemDetail


@dataclass(frozen=True)
class ModelFilter:
    project_id: UUID | None = None
    status: ModelStatus | None = None
    framework: str | None = None
    name: str | None = None


class ModelOut(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    id: UUID
    name: str
    description: str
    tags: list[str]
    project_id: UUID
    framework: Framework
    model_type: Task
    algorithm: str
    status: ModelStatus
    version: int | None = Field(
        description="the newest version; null before the first training has succeeded"
    )
    deployed_version: int | None
    is_deployed: bool
    endpoint: str = Field(description="the name under which ml-service answers once it is deployed")
    metrics: dict[str, float] | None = Field(
        description="of the newest version, on rows it was not trained on"
    )
    parameters: dict[str, Any]
    dataset_id: UUID | None
    target: str | None
    job_id: UUID | None = Field(description="the newest training")
    error: ProblemDetail | None = Field(description="why the newest training failed")
    created_at: datetime


class ModelPatch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    description: str | None = Field(default=None, max_length=5000)
    tags: list[str] | None = Field(default=None, max_length=50)


class VersionSummary(BaseModel):
    version: int
    status: ModelStatus
    algorithm: str
    framework: Framework
    metrics: dict[str, float]
    digest: str = Field(description="SHA-256 of everything that decides this version's answers")
    dataset_id: UUID
    dataset_version: int
    job_id: UUID
    created_at: datetime
    aliases: list[str]


class VersionOut(VersionSummary):
    manifest: Manifest
    evaluation: dict[str, Any]


def model_out(model: Model, newest: ModelVersion | None) -> ModelOut:
    status = ModelStatus(model.status)
    is_newest_deployed = model.deployed_version is not None and model.deployed_version == model.latest_version
    if status is ModelStatus.TRAINED and is_newest_deployed:
        status = ModelStatus.DEPLOYED
    return ModelOut(
        id=model.id,
        name=model.name,
        description=model.description,
        tags=model.tags,
        project_id=model.project_id,
        framework=Framework(model.framework),
        model_type=Task(model.model_type),
        algorithm=model.algorithm,
        status=status,
        version=model.latest_version,
        deployed_version=model.deployed_version,
        is_deployed=model.deployed_version is not None,
        endpoint=model.endpoint,
        metrics=newest.metrics if newest else None,
        parameters=model.parameters,
        dataset_id=model.dataset_id,
        target=model.target,
        job_id=model.job_id,
        error=ProblemDetail.model_validate(model.error) if model.error else None,
        created_at=model.created_at,
    )


def version_summary(model: Model, version: ModelVersion) -> VersionSummary:
    return VersionSummary(**_summary_fields(model, version))


def version_out(model: Model, version: ModelVersion) -> VersionOut:
    manifest = Manifest.model_validate(version.manifest)
    return VersionOut(**_summary_fields(model, version), manifest=manifest, evaluation=manifest.evaluation)


def _summary_fields(model: Model, version: ModelVersion) -> dict[str, Any]:
    is_deployed = model.deployed_version == version.version
    return {
        "version": version.version,
        "status": ModelStatus.DEPLOYED if is_deployed else version.status,
        "algorithm": version.algorithm,
        "framework": version.framework,
        "metrics": version.metrics,
        "digest": version.digest,
        "dataset_id": version.dataset_id,
        "dataset_version": version.dataset_version,
        "job_id": version.job_id,
        "created_at": version.created_at,
        "aliases": ["latest"] if version.version == model.latest_version else [],
    }
