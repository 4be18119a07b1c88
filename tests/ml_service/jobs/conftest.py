"""A worker's own parts, with patience as short as tests want it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ml_service.jobs import child_process
from ml_service.jobs.attempt import Workshop
from ml_service.jobs.control import JobControl
from ml_service.jobs.notices import JobNotices
from ml_service.jobs.runner import JobRunner
from ml_service.settings import Settings
from platform_kit.plumbing.object_store import ObjectStore
from tests.ml_service.factories import people
from tests.ml_service.jobs.desk import QUEUE, Desk, wait_until
from tests.ml_service.peer import Peer
from tests.proxy import Proxy


@pytest.fixture
def desk(peer: Peer, store: ObjectStore) -> Desk:
    return Desk(peer, store)


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def quick(settings: Settings) -> Settings:
    changes = {
        "finish_patience_seconds": 5,
        "claim_patience_seconds": 10,
        "storage_patience_seconds": 0.5,
        "kill_grace_seconds": 0.3,
    }
    return settings.model_copy(update=changes)


@pytest.fixture
def control(quick: Settings) -> Iterator[JobControl]:
    with closing(JobControl.from_settings(quick)) as control:
        yield control


@pytest.fixture
def notices(quick: Settings) -> Iterator[JobNotices]:
    with closing(JobNotices(quick.cache_url.get_secret_value())) as notices:
        yield notices


@pytest.fixture
def workshop(
    quick: Settings, control: JobControl, store: ObjectStore, notices: JobNotices, stopping: threading.Event
) -> Workshop:
    return Workshop(quick, control, store, notices, stopping)


@pytest.fixture
def runner(workshop: Workshop) -> JobRunner:
    return JobRunner(workshop, "worker-1")


@dataclass
class Network:
    """The way to storage, through a proxy, and a worker that has no other."""

    proxy: Proxy
    workshop: Workshop

    @property
    def runner(self) -> JobRunner:
        return JobRunner(self.workshop, "worker-1")

    def patient_runner(self) -> JobRunner:
        settings = self.workshop.settings.model_copy(update={"storage_patience_seconds": 30})
        return JobRunner(replace(self.workshop, settings=settings), "worker-1")


@pytest.fixture
def network(workshop: Workshop, quick: Settings) -> Iterator[Network]:
    host, _, port = quick.s3_endpoint.rpartition(":")
    with closing(Proxy(int(port), target_host=host)) as proxy:
        settings = quick.model_copy(update={"s3_endpoint": f"127.0.0.1:{proxy.port}"})
        yield Network(proxy, replace(workshop, store=ObjectStore.from_settings(settings)))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Run this in place of the child's program."""

    def put(text: str) -> None:
        path = tmp_path / "child.py"
        path.write_text(text)
        monkeypatch.setattr(child_process, "PROGRAM", ["-S", str(path)])

    return put


Begin = Callable[..., threading.Thread]


@pytest.fixture
def begin(desk: Desk, runner: JobRunner) -> Iterator[Begin]:
    """Run the offered job in a thread, as Celery does, and wait for one of its stages."""
    threads: list[threading.Thread] = []

    def start(stage: str | None = None, *, by: JobRunner = runner) -> threading.Thread:
        thread = threading.Thread(target=by.run, args=(QUEUE,))
        threads.append(thread)
        thread.start()
        if stage is not None:
            wait_until(lambda: any(stage in each for each in desk.stages()), seconds=30)
        return thread

    yield start
    desk.fenced = True
    for thread in threads:
        thread.join(15)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def csv() -> bytes:
    return people(400).to_csv(index=False).encode()
