"""One attempt at one job: the real child, real storage, and a peer that plays api-server and breaks on command."""

import hashlib
import json
import os
import threading
import time

import pytest

from ml_service.jobs.runner import JobRunner
from ml_service.settings import Settings
from platform_kit.contract.artifact import object_key
from platform_kit.contract.jobs import ProfileSpec
from platform_kit.plumbing.object_store import ObjectStore
from tests.ml_service.jobs.conftest import Begin, Network
from tests.ml_service.jobs.desk import QUEUE, Desk, children, slow, training


class TestSuccess:
    def test_of_a_profile_hands_in_the_whole_profile(self, desk: Desk, runner: JobRunner, csv: bytes) -> None:
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))

        runner.run(QUEUE)

        assert desk.end["outcome"] == "succeeded"
        assert desk.end["result"]["statistics"]["row_count"] == 400
        assert desk.end["result"]["columns"][0] == {"name": "age", "type": "integer", "nullable": False}

    def test_of_a_training_stores_what_the_manifest_names(
        self, desk: Desk, runner: JobRunner, store: ObjectStore, csv: bytes, quick: Settings
    ) -> None:
        desk.offer(training(desk, csv))

        runner.run(QUEUE)

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
            runner.run(QUEUE)

        first, second = (each["result"] for each in desk.ends)
        assert first["manifest"]["files"] == second["manifest"]["files"]
        assert first["manifest_ref"]["digest"] == second["manifest_ref"]["digest"]


class TestClaim:
    def test_that_is_refused_is_the_end_of_it(self, desk: Desk, runner: JobRunner) -> None:
        for _ in range(5):
            runner.run(QUEUE)

        assert (desk.peer.count("/claim"), desk.ends) == (5, [])

    def test_waits_for_an_api_server_that_restarts(self, desk: Desk, runner: JobRunner, csv: bytes) -> None:
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))
        desk.peer.status = 503
        threading.Timer(0.5, lambda: setattr(desk.peer, "status", None)).start()

        runner.run(QUEUE)

        assert desk.end["outcome"] == "succeeded"


class TestFailure:
    def test_of_the_data_is_reported_with_its_place(self, desk: Desk, runner: JobRunner) -> None:
        desk.offer(ProfileSpec(dataset=desk.dataset(b"a,b\n1,2\n3\n")))

        runner.run(QUEUE)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("failed", "ragged_rows")
        assert desk.end["error"]["errors"][0]["line"] == 3

    def test_of_the_stored_bytes_is_no_reason_to_try_again(
        self, desk: Desk, runner: JobRunner, store: ObjectStore, csv: bytes
    ) -> None:
        dataset = desk.dataset(csv)
        store.put_bytes(dataset.key, csv + b"tampered")
        desk.offer(ProfileSpec(dataset=dataset))

        runner.run(QUEUE)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("failed", "checksum_mismatch")

    def test_of_storage_is_a_reason_to_try_again(self, desk: Desk, network: Network, csv: bytes) -> None:
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))
        network.proxy.refuse()

        network.runner.run(QUEUE)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("interrupted", "storage_unavailable")

    def test_of_the_child_names_the_signal(self, desk: Desk, begin: Begin, csv: bytes) -> None:
        desk.offer(slow(desk, csv))
        thread = begin("round")
        (pid,) = children()
        os.kill(pid, 9)
        thread.join(10)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("interrupted", "child_crashed")
        assert "signal 9" in desk.end["error"]["detail"]

    @pytest.mark.parametrize("status", [400, 413, 422])
    def test_of_a_result_that_is_refused_is_final(
        self, desk: Desk, runner: JobRunner, csv: bytes, status: int
    ) -> None:
        desk.peer.routes["/finish"] = lambda body: (
            (status, {"detail": "no such digest"})
            if body["outcome"] == "succeeded"
            else (200, {"status": "failed"})
        )
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))

        runner.run(QUEUE)

        assert [each["outcome"] for each in desk.ends] == ["succeeded", "failed"]
        assert desk.ends[-1]["error"]["code"] == "result_refused"

    def test_to_tell_its_news_does_not_cost_the_lease(
        self, desk: Desk, runner: JobRunner, csv: bytes
    ) -> None:
        """api-server takes beats, and none with log lines."""
        beat = desk.peer.routes["/heartbeat"]
        desk.peer.routes["/heartbeat"] = lambda body: (413, {}) if body["logs"] else beat(body)
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))

        runner.run(QUEUE)

        assert desk.end["outcome"] == "succeeded"
        assert any(not each["logs"] for each in desk.peer.bodies("/heartbeat"))


class TestLimits:
    def test_of_time_end_the_child(self, desk: Desk, runner: JobRunner, csv: bytes) -> None:
        desk.offer(slow(desk, csv), time_limit_seconds=3)
        began = time.monotonic()

        runner.run(QUEUE)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("failed", "timeout")
        assert time.monotonic() - began < 8
        assert children() == []

    def test_of_memory_end_the_child(self, desk: Desk, runner: JobRunner, csv: bytes) -> None:
        desk.offer(slow(desk, csv), memory_limit_bytes=60 * 2**20)

        runner.run(QUEUE)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("failed", "out_of_memory")
        assert children() == []


class TestStopping:
    def test_a_cancelled_job_leaves_no_process(self, desk: Desk, begin: Begin, csv: bytes) -> None:
        desk.offer(slow(desk, csv))
        thread = begin("round")
        desk.cancel = True
        began = time.monotonic()
        thread.join(10)

        assert desk.end["outcome"] == "cancelled"
        assert time.monotonic() - began < 3
        assert children() == []

    def test_a_fenced_attempt_writes_nothing_more(self, desk: Desk, begin: Begin, csv: bytes) -> None:
        desk.offer(slow(desk, csv))
        thread = begin("round")
        desk.fenced = True
        thread.join(10)

        assert desk.ends == []
        assert children() == []

    def test_a_worker_that_goes_away_hands_its_job_back(
        self, desk: Desk, begin: Begin, csv: bytes, stopping: threading.Event
    ) -> None:
        desk.offer(slow(desk, csv))
        thread = begin("round")
        stopping.set()
        thread.join(5)

        assert not thread.is_alive()
        assert desk.end["outcome"] == "released"
        assert children() == []

    def test_a_fit_outlives_an_outage_of_api_server(self, desk: Desk, begin: Begin, csv: bytes) -> None:
        parameters = {"n_estimators": 1500}
        desk.offer(training(desk, csv, framework="xgboost", algorithm="xgboost", parameters=parameters))
        thread = begin("round")
        desk.peer.status = 503
        time.sleep(1)
        desk.peer.status = None
        thread.join(30)

        assert [each["outcome"] for each in desk.ends][-1] == "succeeded"
