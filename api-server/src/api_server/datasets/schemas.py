from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api_server.datasets.models import Dataset, DatasetStatus, DatasetVersion
from platform_kit.contract.problem import Issue, IssueCode, ProblemDetail
from platform_kit.contract.schema import Column, DatasetStatistics, FileType
from platform_kit.plumbing.problems import InvalidRequest


class DatasetForm(BaseModel):
    """The form fields beside the file."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=5000)
    project_id: UUID | None = Field(default=None, description="left out: the caller's personal project")
    tags: list[str] = Field(
        default_factory=list, max_length=50, description="repeated, or separated by commas"
    )


class VersionForm(BaseModel):
    """A new version takes a file and nothing else."""

    model_config = ConfigDict(extra="forbid")


class DatasetPatch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=5000)
    tags: list[str] | None = Field(default=None, max_length=50)


class VersionOut(BaseModel):
    """`schema` and `statistics` are there once the version is `ready`; `error` when it is `rejected` or `failed`."""

    model_config = ConfigDict(populate_by_name=True)

    version: int
    status: DatasetStatus
    error: ProblemDetail | None
    file_name: str
    file_type: FileType
    file_size: int = Field(description="bytes")
    digest: str = Field(description="SHA-256 of the file, hexadecimal")
    job_id: UUID | None
    created_at: datetime
    columns: list[Column] | None = Field(alias="schema")
    statistics: DatasetStatistics | None


class DatasetOut(VersionOut):
    """A dataset as its newest version is."""

    id: UUID
    name: str
    description: str
    tags: list[str]
    project_id: UUID
    owner_id: UUID


class ProfileOut(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    dataset_id: UUID
    version: int
    columns: list[Column] = Field(alias="schema")
    statistics: DatasetStatistics


class PreviewOut(BaseModel):
    dataset_id: UUID
    version: int
    rows: list[dict[str, Any]] = Field(description="the first rows, at most 20")


def version_out(version: DatasetVersion) -> VersionOut:
    return VersionOut(**_version_fields(version))


def dataset_out(dataset: Dataset, version: DatasetVersion) -> DatasetOut:
    return DatasetOut(
        id=dataset.id,
        name=dataset.name,
        description=dataset.description,
        tags=dataset.tags,
        project_id=dataset.project_id,
        owner_id=dataset.owner_id,
        **_version_fields(version),
    )


def profile_out(dataset: Dataset, version: DatasetVersion) -> ProfileOut:
    found = {"columns": version.columns, "statistics": version.statistics}
    return ProfileOut.model_validate({"dataset_id": dataset.id, "version": version.version, **found})


def preview_out(dataset: Dataset, version: DatasetVersion) -> PreviewOut:
    return PreviewOut(dataset_id=dataset.id, version=version.version, rows=version.preview or [])


def _version_fields(version: DatasetVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "status": version.status,
        "error": version.error,
        "file_name": version.file_name,
        "file_type": version.file_type,
        "file_size": version.size_bytes,
        "digest": version.sha256,
        "job_id": version.job_id,
        "created_at": version.created_at,
        "columns": version.columns,
        "statistics": version.statistics,
    }


def project_of(fields: dict[str, list[str]]) -> UUID | None:
    """The project that the form names, as far as it can be read."""
    try:
        return UUID(fields["project_id"][-1])
    except (KeyError, ValueError):
        return None


_CODES = {"missing": IssueCode.MISSING_FIELD, "extra_forbidden": IssueCode.UNKNOWN_FIELD}


def form_of(fields: dict[str, list[str]]) -> DatasetForm:
    """Read the form; raises InvalidRequest naming each field that does not fit."""
    plain: dict[str, Any] = {name: values[-1] for name, values in fields.items() if values[-1] != ""}
    if "tags" in plain:
        plain["tags"] = [tag.strip() for value in fields["tags"] for tag in value.split(",") if tag.strip()]
    try:
        return DatasetForm.model_validate(plain)
    except ValidationError as error:
        issues = [
            Issue(
                pointer="/" + "/".join(map(str, each["loc"])),
                field=str(each["loc"][0]),
                code=_CODES.get(each["type"], IssueCode.MALFORMED),
                expected=each["msg"],
            )
            for each in error.errors()
        ]
        named = ", ".join(each.field or "" for each in issues)
        raise InvalidRequest(f"Please mend the form fields: {named}.", errors=issues) from None
