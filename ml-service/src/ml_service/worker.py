"""The Celery application of ml-service's image: queues `ml` and `data`.

Run it with `-P threads`: a task only watches a child process, and a pool of forked processes would cost memory and,
had anything imported OpenMP, hang.
"""

import os
import socket
import threading
from functools import cache
from typing import Any

import structlog
from celery import Celery, Task
from celery.signals import worker_init, worker_ready, worker_shutting_down

from ml_service.jobs.attempt import Workshop
from ml_service.jobs.control import JobControl
from ml_service.jobs.memory import available_bytes
from ml_service.jobs.notices import JobNotices
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
    own = settings.model_copy(update={"worker_scratch_dir": _scratch().folder})
    workshop = Workshop(
        settings=own,
        control=JobControl.from_settings(settings),
        store=ObjectStore.from_settings(settings),
        notices=JobNotices(settings.cache_url.get_secret_value()),
        stopping=stopping,
        memory_limit_bytes=_memory_of_one_job(),
    )
    return JobRunner(workshop, f"{settings.service_name or 'worker'}@{socket.gethostname()}:{os.getpid()}")


@cache
def _scratch() -> Scratch:
    return Scratch(settings.worker_scratch_dir)


def _memory_of_one_job() -> int:
    """So that a job which fills the memory fails by name, and takes neither its worker nor a neighbour along."""
    return int(available_bytes() * settings.worker_memory_share / app.conf.worker_concurrency)


@app.task(name=RUN_JOB, bind=True)
def run_job(self: Task[[str], None], job_id: str) -> None:
    """The doorbell names a job; what is run is the job whose turn it is in the queue it came from."""
    origin = self.request.delivery_info
    assert origin, "it came as a message"
    with structlog.contextvars.bound_contextvars(doorbell=job_id):
        _runner().run(str(origin["routing_key"]))


@worker_init.connect(weak=False)
def _on_init(sender: Any, **_: object) -> None:
    """At the start, so that what dead workers left does not wait for the first job, and a cancel is heard."""
    concurrency = sender.concurrency
    app.conf.worker_concurrency = concurrency if isinstance(concurrency, int) else os.cpu_count() or 1
    _runner()


@worker_ready.connect(weak=False)
def _on_ready(**_: object) -> None:
    log.info("worker.ready")


@worker_shutting_down.connect(weak=False)
def _on_shutdown(**_: object) -> None:
    """Celery waits for the running task; the task sees this and hands its job back at once."""
    stopping.set()
