"""One attempt at one job: the real child, real storage, and a peer that plays api-server and breaks on command."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ml_service.jobs.control import JobControl
from ml_service.jobs.runner import JobRunner
from ml_service.settings import Settings
from platform_kit.contract.artifact import Task, object_key
from platform_kit.contract.jobs import Claim, DatasetRef, ProfileSpec, TrainSpec
from platform_kit.contract.schema import FileType
from platform_kit.plumbing.object_store import ObjectStore
from tests.ml_service.factories import people
from tests.ml_service.peer import Peer

JOB = UUID(int=42)


class Desk:
    """What api-server's jobs do, as far as one job needs it."""

    def __init__(self, peer: Peer, store: ObjectStore) -> None:
        self.peer, self._store = peer, store
        self.claim: Claim | None = None
        self.cancel = False
        self.fenced = False
        peer.routes["/claim"] = self._claim
        peer.routes["/heartbeat"] = self._heartbeat
        peer.routes["/finish"] = lambda _: (409, {}) if self.fenced else (200, {"status": "ended"})

    def offer(self, spec: TrainSpec | ProfileSpec, **limits: Any) -> None:
        known = {
            "job_id": JOB,
            "attempt": 1,
            "max_attempts": 3,
            "lease_seconds": 5,
            "heartbeat_seconds": 0.3,
            "time_limit_seconds": 60,
            "memory_limit_bytes": None,
            "spec": spec,
        }
        self.claim = Claim.model_validate({**known, **limits})

    def dataset(self, content: bytes, *, file_type: FileType = FileType.CSV) -> DatasetRef:
        key = f"datasets/{hashlib.sha256(content).hexdigest()}"
        self._store.put_bytes(key, content)
        return DatasetRef(
            dataset_id=UUID(int=2),
            version=1,
            key=key,
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            file_type=file_type,
        )

    @property
    def ends(self) -> list[dict[str, Any]]:
        return self.peer.bodies("/finish")

    @property
    def end(self) -> dict[str, Any]:
        (end,) = self.ends
        return end

    def stages(self) -> list[str]:
        bodies = [*self.peer.bodies("/heartbeat"), *self.ends]
        return [step["stage"] for body in bodies for step in body["progress"]]

    def logs(self) -> list[str]:
        bodies = [*self.peer.bodies("/heartbeat"), *self.ends]
        return [line["message"] for body in bodies for line in body["logs"]]

    def _claim(self, _: dict[str, Any]) -> tuple[int, Any]:
        claim, self.claim = self.claim, None
        return (200, claim) if claim else (409, {})

    def _heartbeat(self, _: dict[str, Any]) -> tuple[int, Any]:
        return (409, {}) if self.fenced else (200, {"cancel_requested": self.cancel, "lease_seconds": 5})


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
    control = JobControl.from_settings(quick, "worker-1")
    yield control
    control.close()


@pytest.fixture
def runner(quick: Settings, control: JobControl, store: ObjectStore, stopping: threading.Event) -> JobRunner:
    return JobRunner(quick, control, store, stopping=stopping)


@pytest.fixture(scope="module")
def csv() -> bytes:
    return people(400).to_csv(index=False).encode()


def training(desk: Desk, csv: bytes, **facts: Any) -> TrainSpec:
    known = {
        "model_id": UUID(int=1),
        "dataset": desk.dataset(csv),
        "task": Task.CLASSIFICATION,
        "framework": "lightgbm",
        "algorithm": "lightgbm",
        "parameters": {"n_estimators": 20},
        "target": "bought",
        "preprocessing": {"exclude": ["level", "spent"]},
    }
    return TrainSpec.model_validate({**known, **facts})


def slow(desk: Desk, csv: bytes) -> TrainSpec:
    """A training of minutes on any machine: deep trees which hardly learn, so that none is trivial, on 40 000 rows."""
    parameters = {"n_estimators": 10_000, "max_depth": 12, "learning_rate": 0.001}
    heavy = csv + b"".join([csv.split(b"\n", 1)[1]] * 99)
    return training(desk, heavy, framework="xgboost", algorithm="xgboost", parameters=parameters)


@pytest.fixture
def during(desk: Desk, runner: JobRunner) -> Iterator[Any]:
    """Run the offered job in a thread, as Celery does; gives a function that waits until it fits."""
    thread = threading.Thread(target=runner.run, args=(JOB,))

    def begin() -> threading.Thread:
        thread.start()
        deadline = time.monotonic() + 30
        while not any("round" in each for each in desk.stages()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return thread

    yield begin
    if thread.is_alive():
        desk.fenced = True
        thread.join(10)


def children() -> list[int]:
    """Processes of ours that run the child's program."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if b"ml_service.child" in line and parent == os.getpid():
                found.append(int(entry.name))
    return found


class TestSuccess:
    def test_of_a_profile_hands_in_the_whole_profile(self, desk: Desk, runner: JobRunner, csv: bytes) -> None:
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))

        runner.run(JOB)

        assert desk.end["outcome"] == "succeeded"
        assert desk.end["result"]["statistics"]["row_count"] == 400
        assert desk.end["result"]["columns"][0] == {"name": "age", "type": "integer", "nullable": False}

    def test_of_a_training_stores_what_the_manifest_names(
        self, desk: Desk, runner: JobRunner, store: ObjectStore, csv: bytes, quick: Settings
    ) -> None:
        desk.offer(training(desk, csv))

        runner.run(JOB)

        result = desk.end["result"]
        (file,) = result["manifest"]["files"]
        content = store.read(file["key"])
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
        assert file["key"] == object_key(file["sha256"])
        stored = store.read(result["manifest_ref"]["key"])
        assert hashlib.sha256(stored).hexdigest() == result["manifest_ref"]["sha256"]
        assert json.loads(stored)["metrics"] == result["manifest"]["metrics"]
        assert "evaluating" in desk.stages()
        assert list(quick.worker_scratch_dir.iterdir()) == []

    def test_of_the_same_training_twice_stores_the_same_files(
        self, desk: Desk, runner: JobRunner, csv: bytes
    ) -> None:
        for _ in range(2):
            desk.offer(training(desk, csv))
            runner.run(JOB)

        first, second = (each["result"] for each in desk.ends)
        assert first["manifest"]["files"] == second["manifest"]["files"]
        assert first["manifest_ref"]["digest"] == second["manifest_ref"]["digest"]


class TestClaim:
    def test_that_is_refused_is_the_end_of_it(self, desk: Desk, runner: JobRunner) -> None:
        for _ in range(5):
            runner.run(JOB)

        assert (desk.peer.count("/claim"), desk.ends) == (5, [])

    def test_waits_for_an_api_server_that_restarts(self, desk: Desk, runner: JobRunner, csv: bytes) -> None:
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))
        desk.peer.status = 503
        threading.Timer(0.5, lambda: setattr(desk.peer, "status", None)).start()

        runner.run(JOB)

        assert desk.end["outcome"] == "succeeded"


class TestFailure:
    def test_of_the_data_is_reported_with_its_place(self, desk: Desk, runner: JobRunner) -> None:
        desk.offer(ProfileSpec(dataset=desk.dataset(b"a,b\n1,2\n3\n")))

        runner.run(JOB)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("failed", "ragged_rows")
        assert desk.end["error"]["errors"][0]["line"] == 3

    def test_of_the_stored_bytes_is_no_reason_to_try_again(
        self, desk: Desk, runner: JobRunner, store: ObjectStore, csv: bytes
    ) -> None:
        dataset = desk.dataset(csv)
        store.put_bytes(dataset.key, csv + b"tampered")
        desk.offer(ProfileSpec(dataset=dataset))

        runner.run(JOB)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("failed", "checksum_mismatch")

    def test_of_storage_is_a_reason_to_try_again(
        self, desk: Desk, quick: Settings, control: JobControl, stopping: threading.Event, csv: bytes
    ) -> None:
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))
        nowhere = ObjectStore.from_settings(quick.model_copy(update={"s3_endpoint": "127.0.0.1:1"}))

        JobRunner(quick, control, nowhere, stopping=stopping).run(JOB)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("interrupted", "storage_unavailable")

    def test_of_the_child_names_the_signal(self, desk: Desk, during: Any, csv: bytes) -> None:
        desk.offer(slow(desk, csv))
        thread = during()
        (pid,) = children()
        os.kill(pid, 9)
        thread.join(10)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("interrupted", "child_crashed")
        assert "signal 9" in desk.end["error"]["detail"]

    def test_of_a_result_that_is_refused_is_final(self, desk: Desk, runner: JobRunner, csv: bytes) -> None:
        desk.peer.routes["/finish"] = lambda body: (
            (422, {"detail": "no such digest"})
            if body["outcome"] == "succeeded"
            else (200, {"status": "failed"})
        )
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))

        runner.run(JOB)

        assert [each["outcome"] for each in desk.ends] == ["succeeded", "failed"]
        assert desk.ends[-1]["error"]["code"] == "result_refused"


class TestLimits:
    def test_of_time_end_the_child(self, desk: Desk, runner: JobRunner, csv: bytes) -> None:
        desk.offer(slow(desk, csv), time_limit_seconds=3)
        began = time.monotonic()

        runner.run(JOB)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("failed", "timeout")
        assert time.monotonic() - began < 8
        assert children() == []

    def test_of_memory_end_the_child(self, desk: Desk, runner: JobRunner, csv: bytes) -> None:
        desk.offer(slow(desk, csv), memory_limit_bytes=60 * 2**20)

        runner.run(JOB)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("failed", "out_of_memory")
        assert children() == []


class TestStopping:
    def test_a_cancelled_job_leaves_no_process(self, desk: Desk, during: Any, csv: bytes) -> None:
        desk.offer(slow(desk, csv))
        thread = during()
        desk.cancel = True
        began = time.monotonic()
        thread.join(10)

        assert desk.end["outcome"] == "cancelled"
        assert time.monotonic() - began < 3
        assert children() == []

    def test_a_fenced_attempt_writes_nothing_more(self, desk: Desk, during: Any, csv: bytes) -> None:
        desk.offer(slow(desk, csv))
        thread = during()
        desk.fenced = True
        thread.join(10)

        assert desk.ends == []
        assert children() == []

    def test_a_worker_that_goes_away_hands_its_job_back(
        self, desk: Desk, during: Any, csv: bytes, stopping: threading.Event
    ) -> None:
        desk.offer(slow(desk, csv))
        thread = during()
        stopping.set()
        thread.join(5)

        assert not thread.is_alive()
        assert desk.end["outcome"] == "released"
        assert children() == []

    def test_a_fit_outlives_an_outage_of_api_server(self, desk: Desk, during: Any, csv: bytes) -> None:
        parameters = {"n_estimators": 1500}
        desk.offer(training(desk, csv, framework="xgboost", algorithm="xgboost", parameters=parameters))
        thread = during()
        desk.peer.status = 503
        time.sleep(1)
        desk.peer.status = None
        thread.join(30)

        assert [each["outcome"] for each in desk.ends][-1] == "succeeded"
