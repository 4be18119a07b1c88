"""Celery's processes while the broker is away, at their start and later: they wait, say so, and go on by themselves."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from celery import Celery

from platform_kit.contract.jobs import RUN_JOB
from tests.broker import Broker

WORKER = (
    *("-A", "ml_service.worker", "worker", "-Q", "ml", "-n", "ml@%h", "-P", "threads", "-c", "1"),
    *("--without-mingle", "--without-gossip"),
)
BEAT = ("-A", "api_server.worker", "beat", "-s")

pytestmark = pytest.mark.timeout(180)


class Process:
    """One of Celery's, with its log and the file by which it says that it is alive."""

    def __init__(self, folder: Path, broker_url: str, *arguments: str) -> None:
        self._log, self._alive = folder / "log", folder / "alive"
        environment = {
            **os.environ,
            "BROKER_URL": broker_url,
            "CACHE_URL": "redis://127.0.0.1:1/0",
            "INTERNAL_TOKEN": "an internal token for tests only",
            "JWT_SECRET": "a signing key for tests only, of 32 bytes or more",
            "DATABASE_URL": "postgresql+asyncpg://app:x@127.0.0.1:1/platform",
            "API_INTERNAL_URL": "http://127.0.0.1:1",
            "S3_ENDPOINT": "127.0.0.1:1",
            "S3_ACCESS_KEY": "key",
            "S3_SECRET_KEY": "secret",
            "WORKER_SCRATCH_DIR": str(folder / "scratch"),
            "ALIVE_FILE": str(self._alive),
            "CLAIM_PATIENCE_SECONDS": "0.1",
            "HOUSEKEEPING_INTERVAL_SECONDS": "1",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-q", *arguments],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def is_alive(self) -> bool:
        """Whether the file was touched within the last few seconds."""
        return self._alive.exists() and time.time() - self._alive.stat().st_mtime < 6

    def until(self, fact: Callable[[], bool], *, seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while not fact():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.2)

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(folder)
    yield broker
    broker.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(broker_url: str, *arguments: str) -> Process:
        started.append(Process(tmp_path, broker_url, *arguments))
        return started[-1]

    yield start
    for each in started:
        each.end()


def ring(broker: Broker) -> str:
    """Publish the doorbell of a job; returns its id."""
    job_id = str(uuid4())
    with Celery(broker=broker.url()) as celery:
        celery.send_task(RUN_JOB, args=[job_id], queue="ml", routing_key="ml", exchange="ml")
    return job_id


class TestWorker:
    def test_consumes_when_the_broker_comes_late_and_after_it_was_away(
        self, broker: Broker, start: Callable[..., Process]
    ) -> None:
        worker = start(broker.url(), *WORKER)
        worker.until(lambda: "Connection refused" in worker.log)
        assert not worker.is_alive

        broker.start()
        first = ring(broker)
        worker.until(lambda: first in worker.log)
        worker.until(lambda: worker.is_alive)

        broker.stop()
        worker.until(lambda: not worker.is_alive)
        broker.start()
        second = ring(broker)
        worker.until(lambda: second in worker.log)
        worker.until(lambda: worker.is_alive)

    def test_says_that_its_password_is_wrong(self, broker: Broker, start: Callable[..., Process]) -> None:
        broker.start()

        worker = start(broker.url(password="wrong"), *WORKER)

        worker.until(lambda: "invalid username-password pair" in worker.log)
        assert "Traceback" not in worker.log
        assert "wrong" not in worker.log


class TestBeat:
    def test_ticks_when_the_broker_comes_late_and_after_it_was_away(
        self, broker: Broker, start: Callable[..., Process], tmp_path: Path
    ) -> None:
        beat = start(broker.url(), *BEAT, str(tmp_path / "schedule"))
        beat.until(lambda: "Connection refused" in beat.log)

        for _ in range(2):
            broker.start()
            before = beat.log.count("Sending due task")
            beat.until(lambda: beat.is_alive and beat.log.count("Sending due task") > before + 1)  # noqa: B023
            broker.stop()
            beat.until(lambda: "Couldn't apply scheduled task" in beat.log)
