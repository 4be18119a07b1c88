from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api_server.jobs.models import AttemptEnd, Job, JobAttempt, JobEvent
from platform_kit.contract.jobs import (
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    USUAL_PRIORITY,
    JobKind,
    JobStatus,
    Progress,
    Queue,
)
from platform_kit.contract.numbers import LARGEST_BIG_INTEGER
from platform_kit.contract.problem import ProblemDetail

LEAST_MEMORY_BYTES = 64 * 1024 * 1024

Priority = Annotated[
    int,
    Field(
        ge=LOWEST_PRIORITY,
        le=HIGHEST_PRIORITY,
        strict=True,
        description="among the jobs of its project; projects take turns whatever their priorities",
    ),
]


@dataclass(frozen=True)
class JobFilter:
    kind: str | None = None
    status: str | None = None
    queue: str | None = None
    project_id: UUID | None = None
    model_id: UUID | None = None
    dataset_id: UUID | None = None
    created_by: UUID | None = None
    error_code: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class JobOptions(BaseModel):
    """How a job is run. A limit that is left out is the platform's, which is also the most that may be asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    priority: Priority = USUAL_PRIORITY
    time_limit_seconds: float | None = Field(
        default=None, ge=1, allow_inf_nan=False, strict=True, description="of one attempt, from its claim on"
    )
    memory_limit_bytes: int | None = Field(
        default=None, ge=LEAST_MEMORY_BYTES, le=LARGEST_BIG_INTEGER, strict=True, description="of one attempt"
    )


class JobPatch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    priority: Priority


class JobOut(BaseModel):
    """queue_position: 1 for the next one; null unless it waits for nothing but a worker.

    next_attempt_at: when it may run again, after an attempt that was interrupted.
    """

    id: UUID
    kind: JobKind
    status: JobStatus
    queue: Queue
    priority: int
    progress: Progress
    attempt: int
    max_attempts: int
    error: ProblemDetail | None
    result: dict[str, Any]
    queue_position: int | None
    cancel_requested: bool
    project_id: UUID | None
    model_id: UUID | None
    dataset_id: UUID | None
    created_by: UUID | None
    retry_of: UUID | None
    time_limit_seconds: float | None = Field(description="its own; null: the platform's")
    memory_limit_bytes: int | None = Field(description="its own; null: the platform's")
    created_at: datetime
    started_at: datetime | None
    next_attempt_at: datetime | None
    finished_at: datetime | None


def job_out(job: Job, places: Mapping[UUID, int] | None = None) -> JobOut:
    return JobOut(
        id=job.id,
        kind=JobKind(job.kind),
        status=JobStatus(job.status),
        queue=Queue(job.queue),
        priority=job.priority,
        progress=_progress(job),
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        error=_problem(job.error),
        result=job.result or {},
        queue_position=(places or {}).get(job.id),
        cancel_requested=job.cancel_requested,
        project_id=job.project_id,
        model_id=job.model_id,
        dataset_id=job.dataset_id,
        created_by=job.created_by,
        retry_of=job.retry_of,
        time_limit_seconds=job.time_limit_seconds,
        memory_limit_bytes=job.memory_limit_bytes,
        created_at=job.created_at,
        started_at=job.started_at,
        next_attempt_at=job.not_before,
        finished_at=job.finished_at,
    )


class AttemptOut(BaseModel):
    """outcome: how it ended, `error` why; null while it runs. `lost`: its worker was not heard of any more."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: AttemptEnd | None
    error: ProblemDetail | None


class AttemptList(BaseModel):
    items: list[AttemptOut]
    next_cursor: str | None = None
    total: int


def attempt_out(attempt: JobAttempt) -> AttemptOut:
    return AttemptOut(
        number=attempt.number,
        worker=attempt.worker,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        outcome=AttemptEnd(attempt.outcome) if attempt.outcome else None,
        error=_problem(attempt.error),
    )


class LogLineOut(BaseModel):
    at: datetime
    attempt: int
    level: str
    message: str


class LogPage(BaseModel):
    """next_cursor: for asking again, now or in a moment; null once the job is over and all was read."""

    items: list[LogLineOut]
    next_cursor: str | None


def log_line_out(event: JobEvent) -> LogLineOut:
    return LogLineOut.model_validate({**event.body, "attempt": event.attempt})


def _problem(error: dict[str, Any] | None) -> ProblemDetail | None:
    return ProblemDetail.model_validate(error) if error else None


def _progress(job: Job) -> Progress:
    if job.progress is not None:
        return Progress.model_validate(job.progress)
    return Progress(percent=0, stage=_stage(job))


def _stage(job: Job) -> str:
    if job.waits_for is not None:
        return "waiting for its dataset"
    if job.not_before is not None:
        return "waiting to be tried again"
    return job.status
