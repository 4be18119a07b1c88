from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api_server.audit_trail import AuditEntry
from api_server.auth.models import User
from api_server.auth.schemas import Email, Username
from api_server.projects.config import ProjectConfig
from api_server.projects.models import Project, ProjectMember, ProjectStatus
from platform_kit.contract.access import ProjectRole
from platform_kit.contract.numbers import LARGEST_BIG_INTEGER, LARGEST_INTEGER


@dataclass(frozen=True)
class ProjectFilter:
    status: str | None = None
    tag: str | None = None
    text: str | None = None


Name = Annotated[str, Field(min_length=1, max_length=200)]
Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=50)]], Field(max_length=50)]


class ProjectIn(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "churn",
                    "tags": ["customers"],
                    "config": {"training": {"target": "left", "seed": 7}},
                }
            ]
        },
    )

    name: Name
    description: str = Field(default="", max_length=5000)
    tags: Tags = Field(default_factory=list)
    config: ProjectConfig = Field(default_factory=ProjectConfig)


class ProjectPatch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    description: str | None = Field(default=None, max_length=5000)
    tags: Tags | None = None
    config: ProjectConfig | None = Field(default=None, description="replaces the whole of it")
    status: ProjectStatus | None = Field(
        default=None,
        description="archived and completed projects take no new datasets, models or deployments",
    )

    def changes(self) -> dict[str, Any]:
        """Columns with their new values; null leaves a column as it is."""
        plain = self.model_dump(exclude_none=True, exclude={"config"})
        return plain if self.config is None else {**plain, "config": self.config.as_stored()}


class ProjectOut(BaseModel):
    id: UUID
    name: str
    description: str
    tags: list[str]
    config: dict[str, Any]
    status: ProjectStatus
    owner_id: UUID = Field(description="the primary owner; other members may be owners too")
    is_personal: bool
    role: ProjectRole | None = Field(description="yours; null for an administrator who is not a member")
    created_at: datetime
    updated_at: datetime


class PersonIn(BaseModel):
    """Somebody with an account, by one of its names."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"username": "ada"}]})

    username: Username | None = None
    email: Email | None = None
    user_id: UUID | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(each is not None for each in (self.username, self.email, self.user_id)) != 1:
            raise ValueError("exactly one of username, email and user_id")
        return self


class MemberIn(PersonIn):
    model_config = ConfigDict(json_schema_extra={"examples": [{"username": "ada", "role": "editor"}]})

    role: ProjectRole = ProjectRole.VIEWER


class MemberPatch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: ProjectRole


class MemberOut(BaseModel):
    user_id: UUID
    username: str
    full_name: str | None
    email: str | None = Field(description="shown to administrators, and to who typed it")
    role: ProjectRole
    created_at: datetime
    is_primary_owner: bool


class ActivityOut(BaseModel):
    id: UUID
    at: datetime
    action: str
    user_id: UUID | None = Field(description="null: the platform itself")
    username: str | None
    object_type: str | None
    object_id: str | None
    details: dict[str, Any]


class QuotasIn(BaseModel):
    """What is null or left out is as the platform's settings say; 0 allows nothing."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"models": 50}]})

    dataset_bytes: int | None = Field(default=None, ge=0, le=LARGEST_BIG_INTEGER, strict=True)
    models: int | None = Field(default=None, ge=0, le=LARGEST_INTEGER, strict=True)
    jobs_at_once: int | None = Field(default=None, ge=0, le=LARGEST_INTEGER, strict=True)


class QuotaUse(BaseModel):
    used: int
    limit: int


class UsageOut(BaseModel):
    dataset_bytes: QuotaUse = Field(description="of all versions of the project's datasets")
    models: QuotaUse
    jobs_at_once: QuotaUse = Field(description="jobs that wait or run, beside the profiling of datasets")


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


def member_out(member: ProjectMember, user: User, project: Project, *, shows_email: bool) -> MemberOut:
    return MemberOut(
        user_id=user.id,
        username=user.username,
        full_name=user.full_name,
        email=user.email if shows_email else None,
        role=ProjectRole(member.role),
        created_at=member.created_at,
        is_primary_owner=user.id == project.owner_id,
    )


def activity_out(entry: AuditEntry) -> ActivityOut:
    """Who may see the project may see this: no address, no credential, nothing that names one."""
    return ActivityOut(
        id=entry.id,
        at=entry.created_at,
        action=entry.action,
        user_id=entry.user_id,
        username=entry.username,
        object_type=entry.object_type,
        object_id=entry.object_id,
        details={name: value for name, value in entry.details.items() if name != "prefix"},
    )
