"""The Celery application of api-server's image: queue `general`, the beat schedule, and what Flower looks at."""

import os
import socket
from functools import cache
from uuid import UUID, uuid4

import structlog
from celery import Celery

from api_server import tables
from api_server.database import Sessions, make_engine, make_sessions, transaction
from api_server.handlers import HANDLERS
from api_server.housekeeping.chores import CHORES
from api_server.jobs import service as jobs
from api_server.jobs.errors import NothingToClaim
from api_server.jobs.service import Work
from api_server.settings import Settings
from api_server.task_runner import TaskRunner
from platform_kit.contract.jobs import (
    RUN_JOB,
    Finish,
    HousekeepingResult,
    HousekeepingSpec,
    JobKind,
    Outcome,
    Queue,
)
from platform_kit.plumbing.celery_app import make_celery

SUBMIT_CHORE = "platform.submit_chore"

log = structlog.get_logger(__name__)
settings = Settings.from_environment()


def _make_app() -> Celery:
    made = make_celery(settings.service_name or "worker-general", settings)
    made.conf.beat_schedule = {
        f"chore-{name}": {
            "task": SUBMIT_CHORE,
            "schedule": settings.housekeeping_interval_seconds,
            "args": [name],
            "options": {"queue": str(Queue.GENERAL)},
        }
        for name in CHORES
    }
    return made


app = _make_app()


@cache
def _runner() -> TaskRunner:
    return TaskRunner()


@cache
def _sessions() -> Sessions:
    assert tables.metadata.tables  # importing `tables` is what makes foreign keys resolve here
    return make_sessions(make_engine(settings))


@app.task(name=SUBMIT_CHORE)
def submit_chore(name: str) -> None:
    _runner().run(_submit_chore(name))


@app.task(name=RUN_JOB)
def run_job(job_id: str) -> None:
    _runner().run(_run_job(UUID(job_id)))


async def _submit_chore(name: str) -> None:
    async with transaction(_sessions()) as session:
        await jobs.submit(
            session,
            work=Work(
                kind=JobKind.HOUSEKEEPING,
                subject_id=uuid4(),
                project_id=None,
                created_by=None,
                request={"chore": name},
            ),
            max_attempts=settings.job_max_attempts,
        )


async def _run_job(job_id: UUID) -> None:
    """Claim, do and finish a chore. A chore that raises leaves its lease to the reaper, which tries it again."""
    worker = f"general@{socket.gethostname()}:{os.getpid()}"
    try:
        async with transaction(_sessions()) as session:
            claim = await jobs.claim(session, job_id, worker=worker, handlers=HANDLERS, settings=settings)
    except NothingToClaim:
        return
    if claim is None or not isinstance(claim.spec, HousekeepingSpec):
        return
    async with transaction(_sessions()) as session:
        counts = await CHORES[claim.spec.chore](session, settings)
        end = Finish(
            worker=worker,
            attempt=claim.attempt,
            outcome=Outcome.SUCCEEDED,
            result=HousekeepingResult(counts=counts),
        )
        await jobs.finish(session, job_id, end, handlers=HANDLERS)
    log.info("chore.done", chore=claim.spec.chore, **counts)
