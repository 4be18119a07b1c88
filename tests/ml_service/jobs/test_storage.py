"""Storage that is slow, frozen or away, through a real proxy in front of the real one."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from ml_service.jobs import transfers
from ml_service.jobs.control import JobControl
from ml_service.jobs.heart import Heart, News
from ml_service.jobs.transfers import Transfers
from ml_service.jobs.watch import Watch
from ml_service.settings import Settings
from platform_kit.contract.jobs import ProfileSpec
from platform_kit.plumbing.object_store import ObjectStore
from tests.ml_service.jobs.conftest import Begin, Network
from tests.ml_service.jobs.desk import MADE, QUEUE, Desk, stay, training, wait_until


def gaps(moments: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(moments)]


def transferring() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "blocking"]


class TestFetching:
    def test_keeps_the_lease_though_it_takes_longer_than_that(
        self, desk: Desk, network: Network, program: Callable[[str], None], csv: bytes
    ) -> None:
        program(stay("made", MADE))
        lease = 0.9
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)), lease_seconds=lease, heartbeat_seconds=lease / 3)
        network.proxy.slow(len(csv) / (3 * lease))
        began = time.monotonic()

        network.runner.run(QUEUE)

        assert desk.end["outcome"] == "succeeded"
        assert time.monotonic() - began > 2 * lease
        assert len(desk.beats) >= 6
        assert max(gaps(desk.beats)) < lease
        assert desk.stages().count("fetching the dataset") > 3

    def test_counts_for_the_time_limit(self, desk: Desk, network: Network) -> None:
        desk.offer(ProfileSpec(dataset=desk.dataset(b"a" * 1_000_000)), time_limit_seconds=0.7)
        network.proxy.slow(10_000)
        began = time.monotonic()

        network.runner.run(QUEUE)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("failed", "timeout")
        assert time.monotonic() - began < 2

    def test_that_is_given_up_leaves_neither_a_file_nor_a_thread(
        self, desk: Desk, network: Network, quick: Settings
    ) -> None:
        desk.offer(ProfileSpec(dataset=desk.dataset(b"a" * 1_000_000)), time_limit_seconds=0.5)
        network.proxy.slow(10_000)

        network.runner.run(QUEUE)

        assert list(quick.worker_scratch_dir.iterdir()) == []
        wait_until(lambda: transferring() == [], seconds=5)
        assert list(quick.worker_scratch_dir.iterdir()) == []

    def test_is_tried_again_and_the_user_is_told(
        self, desk: Desk, network: Network, begin: Begin, program: Callable[[str], None], csv: bytes
    ) -> None:
        program(stay("made", MADE))
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))
        network.proxy.reset()
        thread = begin(by=network.patient_runner())
        wait_until(lambda: any("does not answer" in line for line in desk.logs()))

        network.proxy.passing()
        thread.join(20)

        assert desk.end["outcome"] == "succeeded"
        assert "Object storage answers again." in desk.logs()


class TestUploading:
    def test_is_given_up_as_storage_unavailable_and_not_as_a_failure_of_the_job(
        self, desk: Desk, network: Network, begin: Begin, csv: bytes
    ) -> None:
        desk.offer(training(desk, csv))
        thread = begin("starting", by=network.runner)

        network.proxy.refuse()
        thread.join(20)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("interrupted", "storage_unavailable")


@pytest.fixture
def putting(desk: Desk, control: JobControl, store: ObjectStore) -> Transfers:
    desk.offer(ProfileSpec(dataset=desk.dataset(b"a")))
    assert desk.claim is not None
    news = News()
    watch = Watch(Heart(control, desk.claim, "worker-1", news), threading.Event(), time_limit_seconds=60)
    return Transfers(store, watch, news, patience_seconds=1)


def a_second_later() -> None:
    """Storage tells the time in whole seconds."""
    time.sleep(1.1)


class TestPut:
    def test_of_what_was_stored_just_now_is_no_second_write(
        self, putting: Transfers, store: ObjectStore, tmp_path: Path
    ) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"young")
        putting.put("artifacts/young", path)
        written = store.written("artifacts/young")

        a_second_later()
        putting.put("artifacts/young", path)

        assert store.written("artifacts/young") == written

    def test_of_an_old_leftover_makes_it_young_before_it_is_swept_away(
        self, putting: Transfers, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transfers, "FRESH", timedelta(0))
        path = tmp_path / "file"
        path.write_bytes(b"old")
        putting.put("artifacts/old", path)
        written = store.written("artifacts/old")
        assert written is not None

        a_second_later()
        putting.put("artifacts/old", path)

        again = store.written("artifacts/old")
        assert again is not None
        assert again > written
