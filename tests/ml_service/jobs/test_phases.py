"""A cancel ends an attempt in whatever phase it is: at once when Redis carries the notice, else with a heartbeat."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from ml_service.jobs.attempt import Workshop
from ml_service.jobs.notices import JobNotices
from ml_service.jobs.runner import JobRunner
from ml_service.settings import Settings
from platform_kit.contract.jobs import ProfileSpec
from tests.ml_service.jobs.conftest import Begin, Network
from tests.ml_service.jobs.desk import (
    MADE,
    QUEUE,
    Desk,
    children,
    slow,
    stay,
    tell_of_job,
    training,
    wait_until,
)

AT_ONCE_SECONDS = 2.0
HEARTBEAT_SECONDS = 1.0
ROUND_TRIP_SECONDS = 1.0
"""What ending takes after the cancel is known, on a busy machine."""


class Phases:
    """Each brings an attempt into a phase and leaves it there; `offered` sets how often its heart beats."""

    def __init__(self, desk: Desk, network: Network, begin: Begin, csv: bytes, program: Any) -> None:
        self._desk, self._network, self._begin, self._csv = desk, network, begin, csv
        self._program = program
        self.heartbeat_seconds = 60.0

    def claiming(self) -> threading.Thread:
        """Cancelled after the claim was granted, before its answer has come."""
        grant = self._desk.peer.routes["/claim"]

        def late(body: dict[str, Any]) -> tuple[int, Any]:
            answer = grant(body)
            time.sleep(0.5)
            return answer

        self._desk.peer.routes["/claim"] = late
        self._program(stay("reading", "time.sleep(60)"))
        self._offer_profile()
        thread = self._begin()
        wait_until(lambda: len(self._desk.workers) == 1)
        return thread

    def fetching(self) -> threading.Thread:
        self._desk.offer(
            ProfileSpec(dataset=self._desk.dataset(b"a" * 1_000_000)),
            heartbeat_seconds=self.heartbeat_seconds,
        )
        self._network.proxy.slow(10_000)
        thread = self._begin(by=self._network.runner)
        wait_until(lambda: self._network.proxy.bytes_passed > 5000)
        return thread

    def reading(self) -> threading.Thread:
        self._program(stay("reading", "while True: pass"))
        self._offer_profile()
        return self._begin("reading")

    def fitting(self) -> threading.Thread:
        self._desk.offer(slow(self._desk, self._csv), heartbeat_seconds=self.heartbeat_seconds)
        return self._begin("round")

    def writing(self) -> threading.Thread:
        """In native code that has no ear for signals."""
        deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); ctypes.CDLL(None).sleep(60)"
        self._program(stay("writing", deaf))
        self._offer_profile()
        return self._begin("writing")

    def uploading(self) -> threading.Thread:
        self._desk.offer(training(self._desk, self._csv), heartbeat_seconds=self.heartbeat_seconds)
        thread = self._begin("starting", by=self._network.runner)
        self._network.proxy.stall()
        wait_until(lambda: "uploading the model" in self._desk.stages())
        return thread

    def handing_in(self) -> threading.Thread:
        """api-server takes no result for now, but does take a cancel."""
        self._desk.peer.routes["/finish"] = lambda body: (
            (503, {}) if body["outcome"] == "succeeded" else (200, {"status": "cancelled"})
        )
        self._program(stay("made", MADE))
        self._offer_profile()
        thread = self._begin()
        wait_until(lambda: len(self._desk.ends) > 1)
        return thread

    def _offer_profile(self) -> None:
        self._desk.offer(
            ProfileSpec(dataset=self._desk.dataset(self._csv)), heartbeat_seconds=self.heartbeat_seconds
        )


PHASES = ["claiming", "fetching", "reading", "fitting", "writing", "uploading", "handing_in"]


@pytest.fixture
def phases(desk: Desk, network: Network, begin: Begin, csv: bytes, program: Any) -> Phases:
    return Phases(desk, network, begin, csv, program)


def seconds_to_end(thread: threading.Thread) -> float:
    began = time.monotonic()
    thread.join(15)
    return time.monotonic() - began


class TestCancel:
    @pytest.mark.parametrize("phase", PHASES)
    def test_that_is_told_ends_the_attempt_at_once(
        self, phases: Phases, phase: str, desk: Desk, quick: Settings
    ) -> None:
        thread = getattr(phases, phase)()

        desk.cancel = True
        tell_of_job(quick.cache_url.get_secret_value())

        assert seconds_to_end(thread) < AT_ONCE_SECONDS
        assert desk.ends[-1]["outcome"] == "cancelled"
        assert children() == []
        assert list(quick.worker_scratch_dir.glob("*")) == []

    @pytest.mark.parametrize("phase", PHASES)
    def test_that_nobody_tells_ends_it_with_the_next_heartbeat(
        self, phases: Phases, phase: str, desk: Desk
    ) -> None:
        phases.heartbeat_seconds = HEARTBEAT_SECONDS
        thread = getattr(phases, phase)()

        desk.cancel = True

        assert seconds_to_end(thread) < HEARTBEAT_SECONDS + ROUND_TRIP_SECONDS
        assert desk.ends[-1]["outcome"] == "cancelled"
        assert "Cancelled." in desk.logs()


class TestStop:
    """Of the worker: it is told to go away."""

    @pytest.mark.parametrize("phase", ["fetching", "uploading"])
    def test_hands_the_job_back_at_once_though_storage_does_not_answer(
        self, phases: Phases, phase: str, desk: Desk, stopping: threading.Event
    ) -> None:
        thread = getattr(phases, phase)()

        stopping.set()

        assert seconds_to_end(thread) < AT_ONCE_SECONDS
        assert desk.end["outcome"] == "released"

    def test_is_not_held_up_by_an_api_server_that_is_frozen(
        self, phases: Phases, desk: Desk, stopping: threading.Event
    ) -> None:
        phases.heartbeat_seconds = 0.2
        thread = phases.reading()
        desk.peer.delay_seconds = 3
        time.sleep(0.5)

        stopping.set()

        assert seconds_to_end(thread) < AT_ONCE_SECONDS
        assert children() == []

    def test_claims_nothing_more(self, desk: Desk, begin: Begin, stopping: threading.Event) -> None:
        stopping.set()

        begin().join(5)

        assert desk.workers == []


class TestStages:
    def test_are_told_from_the_first_byte_to_the_last_and_never_go_back(
        self, desk: Desk, begin: Begin, csv: bytes
    ) -> None:
        desk.offer(training(desk, csv))

        begin().join(30)

        stages, percents = desk.stages(), desk.percents()
        assert stages[0] == "fetching the dataset"
        assert stages[-1] == "uploading the model"
        assert percents == sorted(percents)
        assert percents[-1] < 100
        assert desk.logs()[0].startswith("Attempt 1 of 3 started on worker-1:")


class TestClaim:
    def test_whose_answer_was_lost_is_asked_for_again_under_the_same_name(
        self, desk: Desk, begin: Begin, program: Callable[[str], None], csv: bytes
    ) -> None:
        program(stay("made", MADE))
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))
        granted, grant = desk.claim, desk.peer.routes["/claim"]

        def lost(body: dict[str, Any]) -> tuple[int, Any]:
            grant(body)
            desk.claim, desk.peer.routes["/claim"] = granted, grant
            return 502, {}

        desk.peer.routes["/claim"] = lost

        begin().join(10)

        first, again = desk.workers
        assert first == again == desk.end["worker"]
        assert first.startswith("worker-1:")

    def test_has_another_name_each_time(self, desk: Desk, begin: Begin) -> None:
        for _ in range(3):
            begin().join(5)

        assert len(set(desk.workers)) == 3
        assert all(path == "/internal/queues/ml/claim" for path, _ in desk.peer.asked)


class TestHeart:
    def test_tells_nothing_twice_that_api_server_refuses(
        self, desk: Desk, begin: Begin, program: Callable[[str], None], csv: bytes
    ) -> None:
        """A message that is refused must not cost the lease: the next one leaves it out."""
        beat = desk.peer.routes["/heartbeat"]
        desk.peer.routes["/heartbeat"] = lambda body: (422, {}) if body["logs"] else beat(body)
        program(stay("reading", f"time.sleep(3)\n{MADE}"))
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))

        thread = begin()

        wait_until(lambda: len(desk.beats) > 1)
        thread.join(10)
        assert desk.end["outcome"] == "succeeded"

    def test_goes_on_though_the_child_is_frozen(
        self, desk: Desk, begin: Begin, program: Callable[[str], None], csv: bytes
    ) -> None:
        program(stay("reading", "time.sleep(60)"))
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))
        begin("reading")
        (pid,) = children()

        os.kill(pid, signal.SIGSTOP)

        beats = len(desk.beats)
        wait_until(lambda: len(desk.beats) > beats + 3)


class TestNotices:
    def test_are_heard_by_nobody_once_they_are_closed(self, quick: Settings) -> None:
        """So that tests and restarts leave no thread."""
        threads = threading.active_count()
        notices = JobNotices(quick.cache_url.get_secret_value())
        notices.close()

        assert threading.active_count() == threads

    def test_of_a_redis_that_is_away_are_no_reason_to_fail(
        self, desk: Desk, workshop: Workshop, program: Callable[[str], None], csv: bytes
    ) -> None:
        program(stay("made", MADE))
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)))

        with closing(JobNotices("redis://127.0.0.1:1/0")) as deaf:
            JobRunner(replace(workshop, notices=deaf), "worker-1").run(QUEUE)

        assert desk.end["outcome"] == "succeeded"
