from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api_server.projects.models import Project, ProjectRole, ProjectStatus


@dataclass(frozen=True)
class ProjectFilter:
    status: str | None = None
    tag: str | None = None
    text: str | None = None


Name = Annotated[str, Field(min_length=1, max_length=200)]
Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=50)]], Field(max_length=50)]


class ProjectIn(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "churn", "tags": ["customers"]}]}
    )

    name: Name
    description: str = Field(default="", max_length=5000)
    tags: Tags = Field(default_factory=list)
    config: dict[str, Any] = Field(default_factory=dict)


class ProjectPatch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    description: str | None = Field(default=None, max_length=5000)
    tags: Tags | None = None
    config: dict[str, Any] | None = None
    status: ProjectStatus | None = None


class ProjectOut(BaseModel):
    id: UUID
    name: str
    description: str
    tags: list[str]
    config: dict[str, Any]
    status: ProjectStatus
    owner_id: UUID
    is_personal: bool
    role: ProjectRole | None = Field(description="yours; null for an administrator who is not a member")
    created_at: datetime
    updated_at: datetime


def project_out(project: Project, role: ProjectRole | None) -> ProjectOut:
    return ProjectOut(
        id=project.id,
        name=project.name,
        description=project.description,
        tags=project.tags,
        config=project.config,
        status=ProjectStatus(project.status),
        owner_id=project.owner_id,
        is_personal=project.is_personal,
        role=role,
        created_at=project.created_at,
        updated_at=project.updated_at,
    )
