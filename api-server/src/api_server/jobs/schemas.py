from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from api_server.jobs.models import Job
from platform_kit.contract.jobs import JobKind, JobStatus, Progress
from platform_kit.contract.problem import ProblemDetail


@dataclass(frozen=True)
class JobFilter:
    kind: str | None = None
    status: str | None = None
    project_id: UUID | None = None
    subject_id: UUID | None = None


class JobOut(BaseModel):
    id: UUID
    kind: JobKind
    status: JobStatus
    progress: Progress
    attempt: int
    max_attempts: int
    error: ProblemDetail | None
    result: dict[str, Any]
    queue_position: int | None
    cancel_requested: bool
    project_id: UUID | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def job_out(job: Job, *, queue_position: int | None = None) -> JobOut:
    return JobOut(
        id=job.id,
        kind=JobKind(job.kind),
        status=JobStatus(job.status),
        progress=_progress(job),
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        error=ProblemDetail.model_validate(job.error) if job.error else None,
        result=job.result or {},
        queue_position=queue_position,
        cancel_requested=job.cancel_requested,
        project_id=job.project_id,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def _progress(job: Job) -> Progress:
    if job.progress is not None:
        return Progress.model_validate(job.progress)
    return Progress(percent=0, stage="waiting for its dataset" if job.waits_for else job.status)
