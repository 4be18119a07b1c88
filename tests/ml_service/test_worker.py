"""The worker as it runs: a process of Celery's, a real broker, real storage, and a peer in place of api-server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ml_service.settings import Settings
from platform_kit.contract.jobs import RUN_JOB, ProfileSpec, Queue
from platform_kit.plumbing.celery_app import make_celery
from platform_kit.plumbing.object_store import ObjectStore
from tests.ml_service.jobs.desk import JOB, Desk, wait_until
from tests.ml_service.peer import Peer
from tests.proxy import Proxy

COMMAND = [
    "-m",
    "celery",
    "-q",
    "-A",
    "ml_service.worker",
    "worker",
    "-Q",
    "ml,data",
    "-P",
    "threads",
    "-c",
    "1",
]


def ring(settings: Settings, queue: Queue) -> None:
    """As the relay does."""
    with make_celery("relay", settings) as celery:
        celery.send_task(RUN_JOB, args=[str(JOB)], queue=queue, retry=False)


@pytest.fixture
def proxy(settings: Settings) -> Iterator[Proxy]:
    with closing(Proxy(int(settings.s3_endpoint.rpartition(":")[2]))) as proxy:
        yield proxy


@pytest.fixture
def worker(
    settings: Settings, environment: dict[str, str], proxy: Proxy, tmp_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    own = {
        "API_INTERNAL_URL": settings.api_internal_url,
        "WORKER_SCRATCH_DIR": str(tmp_path / "scratch"),
        "S3_ENDPOINT": f"127.0.0.1:{proxy.port}",
        "SERVICE_NAME": "worker-ml",
    }
    command = [sys.executable, *COMMAND, "--without-mingle", "--without-gossip"]
    process = subprocess.Popen(command, env={**os.environ, **environment, **own}, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class TestRunJob:
    def test_claims_from_the_queue_that_the_doorbell_came_from(
        self, settings: Settings, peer: Peer, worker: subprocess.Popen[bytes]
    ) -> None:
        peer.routes["/claim"] = lambda _: (204, {})
        ring(settings, Queue.DATA)
        wait_until(lambda: peer.count("/internal/queues/data/claim") == 1, seconds=30)

        ring(settings, Queue.ML)

        wait_until(lambda: peer.count("/internal/queues/ml/claim") == 1)
        assert len({body["worker"] for body in peer.bodies("/claim")}) == 2

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_that_is_told_to_go_hands_its_job_back_at_once(
        self,
        settings: Settings,
        peer: Peer,
        store: ObjectStore,
        proxy: Proxy,
        worker: subprocess.Popen[bytes],
        number: signal.Signals,
    ) -> None:
        desk = Desk(peer, store)
        desk.offer(ProfileSpec(dataset=desk.dataset(b"a" * 1_000_000)))
        proxy.slow(10_000)
        ring(settings, Queue.DATA)
        wait_until(lambda: proxy.bytes_passed > 5000, seconds=30)

        worker.send_signal(number)
        began = time.monotonic()

        wait_until(lambda: len(desk.ends) == 1, seconds=2)
        assert desk.end["outcome"] == "released"
        worker.wait(10)
        assert time.monotonic() - began < 6
