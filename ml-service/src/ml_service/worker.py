"""The Celery application of ml-service's image: queues `ml` and `data`.

Run it with `-P threads`: a task only watches a child process, and a pool of forked processes would cost memory and,
had anything imported OpenMP, hang.
"""

import os
import socket
import threading
from functools import cache
from uuid import UUID, uuid4

import structlog
from celery import Celery
from celery.signals import worker_init, worker_ready, worker_shutting_down

from ml_service.jobs.control import JobControl
from ml_service.jobs.runner import JobRunner
from ml_service.jobs.scratch import Scratch
from ml_service.settings import Settings
from platform_kit.contract.jobs import RUN_JOB
from platform_kit.plumbing.celery_app import make_celery
from platform_kit.plumbing.object_store import ObjectStore

log = structlog.get_logger(__name__)
settings = Settings.from_environment()
stopping = threading.Event()

app: Celery = make_celery(settings.service_name or "worker", settings)


@cache
def _runner() -> JobRunner:
    worker = f"{settings.service_name or 'worker'}@{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    own = settings.model_copy(update={"worker_scratch_dir": _scratch().folder})
    return JobRunner(
        own,
        JobControl.from_settings(settings, worker),
        ObjectStore.from_settings(settings),
        stopping=stopping,
    )


@cache
def _scratch() -> Scratch:
    return Scratch(settings.worker_scratch_dir)


@app.task(name=RUN_JOB)
def run_job(job_id: str) -> None:
    _runner().run(UUID(job_id))


@worker_init.connect(weak=False)
def _on_init(**_: object) -> None:
    """At the start, so that what dead workers left does not wait for the first job."""
    _scratch()


@worker_ready.connect(weak=False)
def _on_ready(**_: object) -> None:
    log.info("worker.ready")


@worker_shutting_down.connect(weak=False)
def _on_shutdown(**_: object) -> None:
    """Celery waits for the running task; the task sees this and hands its job back at once."""
    stopping.set()
