from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from api_server.jobs.models import Job
from platform_kit.contract.jobs import JobStatus


class LastJob(BaseModel):
    id: UUID
    status: JobStatus
    finished_at: datetime | None
    result: dict[str, Any]


class ChoreOut(BaseModel):
    name: str
    does: str
    interval_seconds: float
    last_job: LastJob | None = Field(description="null: it has not been started within JOB_LOG_DAYS")


class ChoreList(BaseModel):
    items: list[ChoreOut]
    next_cursor: str | None = None
    total: int


def last_job(job: Job | None) -> LastJob | None:
    if job is None:
        return None
    return LastJob(
        id=job.id, status=JobStatus(job.status), finished_at=job.finished_at, result=job.result or {}
    )
