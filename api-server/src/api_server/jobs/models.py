from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, SmallInteger, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from api_server.database import Base, HasCreatedAt, HasId
from platform_kit.contract.jobs import USUAL_PRIORITY


class Job(HasId, HasCreatedAt, Base):
    """One row is one job; every claim about it is read from here, never from Celery.

    attempt: counts claims and fences them: a write with an older number changes nothing.
    waits_for: what must be ready first (a dataset version); the doorbell is not rung before that.
    doorbell_at, rings: when a worker was last told, and how often.
    model_id, dataset_id: what it is about, for lists; they may be gone.
    time_limit_seconds, memory_limit_bytes: its own; null: the platform's.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_running_lease", "lease_until", postgresql_where="status = 'running'"),
        Index("ix_jobs_queued", "queue", "created_at", postgresql_where="status = 'queued'"),
        Index("ix_jobs_turns", "queue", "project_id", "claimed_at"),
    )

    kind: Mapped[str] = mapped_column(String(20))
    queue: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20), default="queued")
    project_id: Mapped[UUID | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), index=True)
    created_by: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    subject_id: Mapped[UUID] = mapped_column(index=True)
    model_id: Mapped[UUID | None] = mapped_column(index=True)
    dataset_id: Mapped[UUID | None] = mapped_column(index=True)
    request: Mapped[dict[str, Any]]
    retry_of: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)

    priority: Mapped[int] = mapped_column(
        SmallInteger, default=USUAL_PRIORITY, server_default=str(USUAL_PRIORITY)
    )
    time_limit_seconds: Mapped[float | None]
    memory_limit_bytes: Mapped[int | None] = mapped_column(BigInteger)

    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int]
    lease_owner: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    claimed_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    waits_for: Mapped[UUID | None] = mapped_column(index=True)
    doorbell_at: Mapped[datetime | None]
    rings: Mapped[int] = mapped_column(default=0)

    progress: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class AttemptEnd(StrEnum):
    """How one attempt ended; `lost`: its worker was not heard of any more."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    RELEASED = "released"
    LOST = "lost"


class JobAttempt(Base):
    """One claim of a job and what came of it. outcome: an AttemptEnd; null while it runs."""

    __tablename__ = "job_attempts"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    worker: Mapped[str] = mapped_column(String(200))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(20))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))


class JobEvent(HasCreatedAt, Base):
    """What happened to a job, in order; the event stream replays it."""

    __tablename__ = "job_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    attempt: Mapped[int]
    type: Mapped[str] = mapped_column(String(20))
    body: Mapped[dict[str, Any]]
