"""The Celery application of api-server's image: queue `general`, the beat schedule, and what Flower looks at.

Run it with `-P threads`: chores run on one event loop, which keeps their leases meanwhile.
"""

import os
import socket
from functools import cache

import structlog
from celery import Celery
from celery.signals import worker_shutting_down

from api_server import tables
from api_server.database import DatabaseUnavailable, Sessions, make_engine, make_sessions, transaction
from api_server.handlers import HANDLERS
from api_server.housekeeping import service as housekeeping
from api_server.housekeeping.chores import CHORES, Place
from api_server.housekeeping.errors import ChoreUnderWay
from api_server.housekeeping.runner import ChoreRunner
from api_server.settings import Settings
from api_server.task_runner import TaskRunner
from platform_kit.contract.jobs import RUN_JOB, Queue
from platform_kit.plumbing.celery_app import make_celery
from platform_kit.plumbing.notices import listen
from platform_kit.plumbing.object_store import ObjectStore

SUBMIT_CHORE = "platform.submit_chore"

log = structlog.get_logger(__name__)
settings = Settings.from_environment()


def _make_app() -> Celery:
    made = make_celery(settings.service_name or "worker-general", settings)
    made.conf.beat_schedule = {f"chore-{name}": _entry(name) for name in CHORES}
    return made


def _entry(name: str) -> dict[str, object]:
    """A call that nobody heard until the next one is due is for nothing."""
    seconds = CHORES[name].interval_seconds(settings)
    options = {"queue": str(Queue.GENERAL), "expires": seconds}
    return {"task": SUBMIT_CHORE, "schedule": seconds, "args": [name], "options": options}


app = _make_app()


@cache
def _runner() -> TaskRunner:
    return TaskRunner()


@cache
def _sessions() -> Sessions:
    assert tables.metadata.tables  # importing `tables` is what makes foreign keys resolve here
    return make_sessions(make_engine(settings))


@cache
def _chores() -> ChoreRunner:
    place = Place(_sessions(), ObjectStore.from_settings(settings), settings)
    chores = ChoreRunner(place, HANDLERS, worker=f"general@{socket.gethostname()}:{os.getpid()}")
    _runner().start(listen(settings.cache_url.get_secret_value(), chores.hear))
    return chores


@app.task(name=SUBMIT_CHORE)
def submit_chore(name: str) -> None:
    _runner().run(_submit_chore(name))


@app.task(name=RUN_JOB)
def run_job(job_id: str) -> None:
    """Do the chore whose turn it is; which doorbell was heard does not matter."""
    _runner().run(_chores().run())


@worker_shutting_down.connect(weak=False)
def _on_shutdown(**_: object) -> None:
    """Celery waits for the task that runs; its chore is handed back at once."""
    _runner().soon(_chores().stop)


async def _submit_chore(name: str) -> None:
    """Unless the one before is still under way: chores do not pile up, whatever keeps them from being done."""
    try:
        async with transaction(_sessions()) as session:
            await housekeeping.start(session, name, settings=settings)
    except ChoreUnderWay:
        log.info("chore.under_way", chore=name)
    except DatabaseUnavailable:
        log.warning("chore.not_submitted", chore=name, reason="database_unavailable")
