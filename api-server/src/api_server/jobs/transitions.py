"""How a job passes from one status to the next; each is an event, and the end is told to the job's handler."""

from datetime import timedelta
from typing import Any

from api_server import outbox
from api_server.audit_trail import PLATFORM, Deed, record
from api_server.auth.permissions import PlatformDeed
from api_server.database import AsyncSession, utc_now
from api_server.jobs import history
from api_server.jobs.handler import Handlers
from api_server.jobs.models import Job
from platform_kit.contract.jobs import JobKind, JobStatus, Queue, job_problem
from platform_kit.contract.problem import ProblemDetail


async def ring(session: AsyncSession, job: Job) -> None:
    await outbox.ring(session, job_id=job.id, queue=Queue(job.queue), not_before=job.not_before)


async def requeue(
    session: AsyncSession, job: Job, *, error: ProblemDetail | None, handlers: Handlers, delay_seconds: float
) -> None:
    """Let another attempt follow; if none is left, or nobody wants one any more, end the job."""
    if job.cancel_requested:
        await end(session, job, JobStatus.CANCELLED, error=None, handlers=handlers)
        return
    if job.attempt >= job.max_attempts:
        last = error or job_problem("worker_lost", "The worker was lost.")
        await end(session, job, JobStatus.FAILED, error=last, handlers=handlers)
        return
    job.status = JobStatus.QUEUED
    job.not_before = utc_now() + timedelta(seconds=delay_seconds) if delay_seconds else None
    job.progress = None
    await record_state(session, job, error=error)
    await ring(session, job)


async def end(
    session: AsyncSession, job: Job, status: JobStatus, *, error: ProblemDetail | None, handlers: Handlers
) -> None:
    """Give the job its last status."""
    job.status = status
    job.error = plain(error)
    job.finished_at = utc_now()
    job.lease_until = job.not_before = None
    job.waits_for = None
    if status is not JobStatus.SUCCEEDED:
        await handlers[JobKind(job.kind)].give_up(session, job, error)
    if status is JobStatus.FAILED:
        record(session, PLATFORM, deed(PlatformDeed.JOB_FAILED, job, code=error.code if error else None))
    await record_state(session, job, error=error)


async def record_state(session: AsyncSession, job: Job, *, error: ProblemDetail | None = None) -> None:
    body: dict[str, Any] = {"status": job.status, "attempt": job.attempt, "max_attempts": job.max_attempts}
    if error is not None:
        body["error"] = plain(error)
    await history.add_events(session, job, ("state", body))


def deed(action: str, job: Job, **details: Any) -> Deed:
    return Deed(action, "job", str(job.id), project_id=job.project_id, details={"kind": job.kind, **details})


def plain(error: ProblemDetail | None) -> dict[str, Any] | None:
    return error.model_dump(mode="json", exclude_none=True) if error else None
