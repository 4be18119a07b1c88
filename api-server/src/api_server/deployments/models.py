from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from api_server.database import Base, HasCreatedAt, HasId


class DeploymentStatus(StrEnum):
    PENDING = "pending"
    """Waits for a training."""
    DEPLOYING = "deploying"
    """Waits for a replica to load it and to replay its golden rows."""
    DEPLOYED = "deployed"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled_back"

    @property
    def is_coming(self) -> bool:
        return self in (DeploymentStatus.PENDING, DeploymentStatus.DEPLOYING)


class Deployment(HasId, HasCreatedAt, Base):
    """One version behind one endpoint, from `deployed_at` to `ended_at`. Rows are kept: they are the history."""

    __tablename__ = "deployments"
    __table_args__ = (
        Index("uq_deployments_serving", "model_id", unique=True, postgresql_where="status = 'deployed'"),
        Index(
            "ix_deployments_live", "status", postgresql_where="status IN ('pending', 'deploying', 'deployed')"
        ),
    )

    model_id: Mapped[UUID] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), index=True)
    version: Mapped[int | None]
    job_id: Mapped[UUID | None]
    status: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(Text)
    config: Mapped[dict[str, Any]]
    is_rollback: Mapped[bool] = mapped_column(default=False)
    generation: Mapped[int | None] = mapped_column(BigInteger)
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    deployed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class ServingGeneration(Base):
    """One row: a number that grows with every change of what is to be served."""

    __tablename__ = "serving_generation"

    id: Mapped[int] = mapped_column(primary_key=True)
    generation: Mapped[int] = mapped_column(BigInteger)


class Replica(Base):
    """A running ml-service process, and how far it has followed."""

    __tablename__ = "replicas"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    applied_generation: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[datetime]
