from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api_server.deployments.models import Deployment, DeploymentStatus
from api_server.registry.models import Model
from platform_kit.contract.artifact import Task
from platform_kit.contract.numbers import VersionNumberInJson
from platform_kit.contract.serving_options import ServingOptions

_CONFIG = "how it answers: the options that were given; what is left out is at its default"


class DeployIn(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {},
                {"version": 2},
                {"config": {"threshold": 0.3, "positive_class": "yes", "abstain_below": 0.6}},
            ]
        },
    )

    version: VersionNumberInJson | None = Field(
        default=None, description="left out: the newest, also one still in training"
    )
    config: ServingOptions = Field(
        default_factory=ServingOptions, description="how it answers; left out: as the model itself does"
    )


class DeployOut(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_id: UUID
    version: int | None = Field(description="null while the training it waits for runs")
    status: DeploymentStatus
    deployment_id: UUID
    endpoint: str
    url: str = Field(description="POST rows here")


class DeploymentOut(DeployOut):
    config: dict[str, Any] = Field(description=_CONFIG)
    reason: str | None = Field(description="why it failed or ended")
    created_at: datetime
    deployed_at: datetime | None
    ended_at: datetime | None


class EndpointOut(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    name: str
    url: str
    model_id: UUID
    model_name: str
    model_type: Task
    project_id: UUID
    version: int | None = Field(description="what answers now; null: nothing does")
    config: dict[str, Any] | None = Field(description=_CONFIG)
    deployment_id: UUID | None
    deployed_at: datetime | None


def deployment_out(deployment: Deployment, model: Model, public_ml_url: str) -> DeploymentOut:
    return DeploymentOut(
        model_id=model.id,
        version=deployment.version,
        status=DeploymentStatus(deployment.status),
        deployment_id=deployment.id,
        endpoint=model.endpoint,
        url=endpoint_url(public_ml_url, model.endpoint),
        config=deployment.config,
        reason=deployment.reason,
        created_at=deployment.created_at,
        deployed_at=deployment.deployed_at,
        ended_at=deployment.ended_at,
    )


def endpoint_out(model: Model, serving: Deployment | None, public_ml_url: str) -> EndpointOut:
    return EndpointOut(
        name=model.endpoint,
        url=endpoint_url(public_ml_url, model.endpoint),
        model_id=model.id,
        model_name=model.name,
        model_type=Task(model.model_type),
        project_id=model.project_id,
        version=serving.version if serving else None,
        config=serving.config if serving else None,
        deployment_id=serving.id if serving else None,
        deployed_at=serving.deployed_at if serving else None,
    )


def endpoint_url(public_ml_url: str, endpoint: str) -> str:
    return f"{public_ml_url.rstrip('/')}/predict/{endpoint}"
