from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, literal_column
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from api_server.database import Base, HasCreatedAt, HasId


class ModelStatus(StrEnum):
    CREATED = "created"
    TRAINING = "training"
    TRAINED = "trained"
    DEPLOYED = "deployed"
    FAILED = "failed"
    ARCHIVED = "archived"


class Model(HasId, HasCreatedAt, Base):
    """A name under which versions accumulate.

    status: how the newest training stands; `deployed` is derived, see `schemas.model_out`.
    job_id: the newest training.
    """

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="RESTRICT"))
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="RESTRICT"))
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[list[str]] = mapped_column(ARRAY(String(50)), default=list)
    framework: Mapped[str] = mapped_column(String(20))
    model_type: Mapped[str] = mapped_column(String(20))
    algorithm: Mapped[str] = mapped_column(String(50))
    parameters: Mapped[dict[str, Any]]
    preprocessing: Mapped[dict[str, Any]]
    dataset_id: Mapped[UUID | None] = mapped_column(ForeignKey("datasets.id", ondelete="SET NULL"))
    target: Mapped[str | None] = mapped_column(String(500))
    endpoint: Mapped[str] = mapped_column(String(200), unique=True)
    status: Mapped[str] = mapped_column(String(20), default=ModelStatus.CREATED)
    latest_version: Mapped[int | None]
    deployed_version: Mapped[int | None]
    job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    revision: Mapped[int] = mapped_column(default=1)

    __mapper_args__ = {"version_id_col": revision}


class ModelVersion(HasId, HasCreatedAt, Base):
    """One success of one training job. The unique job_id keeps a job from registering twice."""

    __tablename__ = "model_versions"
    __table_args__ = (
        UniqueConstraint("model_id", "version"),
        Index(
            "ix_model_versions_files",
            literal_column("(manifest -> 'files')").label("files"),
            postgresql_using="gin",
            postgresql_ops={"files": "jsonb_path_ops"},
        ),
    )

    model_id: Mapped[UUID] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    version: Mapped[int]
    status: Mapped[str] = mapped_column(String(20), default=ModelStatus.TRAINED)
    framework: Mapped[str] = mapped_column(String(20))
    algorithm: Mapped[str] = mapped_column(String(50))
    metrics: Mapped[dict[str, Any]]
    digest: Mapped[str] = mapped_column(String(64))
    manifest: Mapped[dict[str, Any]]
    manifest_key: Mapped[str] = mapped_column(String(300), index=True)
    manifest_sha256: Mapped[str] = mapped_column(String(64))
    dataset_version_id: Mapped[UUID] = mapped_column(ForeignKey("dataset_versions.id", ondelete="RESTRICT"))
    dataset_id: Mapped[UUID]
    dataset_version: Mapped[int]
    job_id: Mapped[UUID] = mapped_column(unique=True)
