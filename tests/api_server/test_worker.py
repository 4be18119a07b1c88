"""The worker of queue `general` as a process of its own: killed, and told to end, in the middle of a chore."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import redis.asyncio
from sqlalchemy import select, update

from api_server.auth.models import Session
from api_server.database import Sessions, transaction, utc_now
from api_server.housekeeping import service as housekeeping
from api_server.jobs.models import Job, JobAttempt
from api_server.relay import Relay
from api_server.settings import Settings
from platform_kit.contract.access import Role
from platform_kit.plumbing.celery_app import make_celery
from tests.api_server.conftest import SignIn
from tests.api_server.factories import SignedIn

LEASE_SECONDS = 1.2
QUICK = {"JOB_LEASE_SECONDS": str(LEASE_SECONDS), "JOB_HEARTBEAT_SECONDS": "0.3"}


class GeneralWorker:
    def __init__(self, environment: dict[str, str], folder: Path, name: str, **own: str) -> None:
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(
                        sys.executable,
                        "-m",
                        "celery",
                        "-q",
                        "-A",
                        "api_server.worker",
                        "worker",
                        "-Q",
                        "general",
                    ),
                    *("-n", f"{name}@%h", "-P", "threads", "-c", "1", "--without-mingle", "--without-gossip"),
                ],
                env={**os.environ, **environment, **own},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text()

    def end(self, number: int, *, seconds: float = 10) -> int:
        """Send a signal; returns the exit status."""
        self._process.send_signal(number)
        return self._process.wait(seconds)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., GeneralWorker]]:
    started: list[GeneralWorker] = []

    def start(name: str, **own: str) -> GeneralWorker:
        started.append(GeneralWorker(environment, tmp_path, name, **own))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
async def relay(settings: Settings, sessions: Sessions) -> AsyncIterator[Relay]:
    broker = redis.asyncio.from_url(settings.broker_url.get_secret_value())
    await broker.flushall()
    yield Relay(settings, sessions, make_celery("relay", settings))
    await broker.flushall()
    await broker.aclose()


@pytest.fixture
async def expired(maker: SignedIn, sessions: Sessions) -> None:
    """One session that has run out."""
    async with transaction(sessions) as session:
        await session.execute(update(Session).values(expires_at=utc_now()))


async def job_of(sessions: Sessions) -> Job:
    async with transaction(sessions) as session:
        return (await session.scalars(select(Job))).one()


async def until(fact: Callable[[Job], bool], sessions: Sessions, *, seconds: float = 20) -> Job:
    deadline = time.monotonic() + seconds
    while not fact(job := await job_of(sessions)):
        assert time.monotonic() < deadline, (job.status, job.progress, job.error)
        await asyncio.sleep(0.05)
    return job


async def reaped(relay: Relay) -> None:
    async with asyncio.timeout(LEASE_SECONDS + 5):
        while True:
            if (await relay.reap()).lost:
                break
            await asyncio.sleep(0.1)
    await relay.publish_due()


async def in_the_middle(
    sessions: Sessions, settings: Settings, relay: Relay, strike: Callable[[Job], Awaitable[None]]
) -> None:
    """Have the chore done and strike while it waits for the row that it is to delete."""
    async with transaction(sessions) as holding:
        await holding.scalars(select(Session).with_for_update())
        async with transaction(sessions) as session:
            await housekeeping.start(session, "expired_sessions", settings=settings)
        await relay.publish_due()
        job = await until(lambda job: (job.progress or {}).get("stage") == "sessions", sessions)
        await strike(job)


async def outcomes(sessions: Sessions) -> list[str | None]:
    async with transaction(sessions) as session:
        return list(await session.scalars(select(JobAttempt.outcome).order_by(JobAttempt.number)))


class TestWorker:
    async def test_that_is_killed_in_the_middle_of_a_chore_loses_nothing(
        self,
        start: Callable[..., GeneralWorker],
        relay: Relay,
        expired: None,
        sessions: Sessions,
        settings: Settings,
    ) -> None:
        workers = {each.pid: each for each in (start("one", **QUICK), start("two", **QUICK))}

        async def kill(job: Job) -> None:
            owner = int((job.lease_owner or "").split(":")[-2])
            workers[owner].end(signal.SIGKILL)

        await in_the_middle(sessions, settings, relay, kill)
        await reaped(relay)
        job = await until(lambda job: job.status == "succeeded", sessions)

        assert job.result == {
            "chore": "expired_sessions",
            "counts": {"sessions": 1, "invitations_and_resets": 0},
        }
        assert await outcomes(sessions) == ["lost", "succeeded"]

    async def test_that_is_told_to_end_hands_its_job_back_at_once(
        self,
        start: Callable[..., GeneralWorker],
        relay: Relay,
        expired: None,
        sessions: Sessions,
        settings: Settings,
    ) -> None:
        worker = start("one")

        async def tell_to_end(job: Job) -> None:
            began = time.monotonic()
            await asyncio.to_thread(worker.end, signal.SIGTERM)
            assert time.monotonic() - began < 4
            back = await job_of(sessions)
            assert (back.status, back.not_before, back.max_attempts) == ("queued", None, 4)

        await in_the_middle(sessions, settings, relay, tell_to_end)

        assert await outcomes(sessions) == ["released"]
        assert '"outcome": "released"' in worker.log
        assert "Traceback" not in worker.log
        assert "destroyed" not in worker.log

    async def test_that_is_told_of_a_cancellation_does_not_wait_for_its_next_heartbeat(
        self,
        start: Callable[..., GeneralWorker],
        relay: Relay,
        expired: None,
        sign_in: SignIn,
        sessions: Sessions,
        settings: Settings,
    ) -> None:
        start("one", JOB_HEARTBEAT_SECONDS="10")
        admin = await sign_in(Role.ADMIN)

        async def cancel(job: Job) -> None:
            answer = await admin.http.post(f"/jobs/{job.id}/cancel")
            assert (answer.status_code, answer.json()["status"]) == (202, "running")
            await until(lambda job: job.status == "cancelled", sessions, seconds=2)

        await in_the_middle(sessions, settings, relay, cancel)

        assert await outcomes(sessions) == ["cancelled"]


class TestSchedule:
    def test_calls_for_each_chore_at_its_own_interval_and_not_for_late_ones(
        self, environment: dict[str, str]
    ) -> None:
        program = "import json; from api_server.worker import app; print(json.dumps(app.conf.beat_schedule))"
        told = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )

        found = json.loads(told.stdout)

        assert {each["args"][0]: each["schedule"] for each in found.values()} == {
            "expired_sessions": 3600,
            "stale_entries": 3600,
            "old_logs": 3600,
            "orphaned_objects": 21600,
            "platform_figures": 300,
        }
        for each in found.values():
            assert each["options"] == {"queue": "general", "expires": each["schedule"]}
