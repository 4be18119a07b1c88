"""A cancellation in every phase, and against the end: one last state, and the answer told the truth."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.plant import Plant
from tests.faults.workshop import Phase, catch, wait_until
from tests.verify.loop import Json

SHARE_OF_LIFE = 1.5
RACES, SOAKING_RACES = 30, 1000
SLOW_HEARTBEAT_SECONDS = 4.0
AT_ONCE_SECONDS = 2.0
Begin = Callable[[], str]
ENDS = {
    Phase.CLAIMING: {"cancelled"},
    Phase.READING: {"cancelled"},
    Phase.FITTING: {"cancelled"},
    Phase.UPLOADING: {"cancelled", "succeeded"},
    Phase.BEFORE_COMMIT: {"succeeded"},
    Phase.AFTER_COMMIT: {"succeeded"},
}


def cancel(plant: Plant, job_id: str) -> int:
    status = plant.maker.api("POST", f"/jobs/{job_id}/cancel").status_code
    assert status in (202, 409)
    return status


class TestCancelling:
    @pytest.mark.parametrize("phase", ENDS)
    def test_in_every_phase(self, plant: Plant, phase: Phase) -> None:
        posted: list[str] = []
        begin = plant.train_long if phase is Phase.FITTING else plant.train
        caught = catch(plant.workshops, phase, lambda: posted.append(begin()))

        started = time.monotonic()
        status = cancel(plant, posted[0])
        caught.release()
        job = plant.finished(posted[0])
        print(f"\n{phase}: {status}, {job['status']} after {time.monotonic() - started:.2f} s")

        assert status == (409 if phase is Phase.AFTER_COMMIT else 202)
        assert job["status"] in ENDS[phase]
        wait_until(lambda: not caught.workshop.children(), "no process is left", seconds=5)

    @pytest.mark.timeout(0)
    def test_against_the_end(self, plant: Plant, minutes: float | None) -> None:
        seed = random.getrandbits(32)
        chance = random.Random(seed)
        kinds: list[Begin] = [plant.train, lambda: plant.job_of(plant.profile())]
        lives = [seconds_of_a_life(plant, begin) for begin in kinds]
        races = [
            (begin, chance.uniform(0, SHARE_OF_LIFE * life))
            for begin, life in zip(kinds, lives, strict=True)
            for _ in range((SOAKING_RACES if minutes else RACES) // len(kinds))
        ]
        chance.shuffle(races)

        with ThreadPoolExecutor(len(plant.workshops)) as pool:
            ends = Counter(pool.map(lambda each: race(plant, *each), races))

        print(f"\nseed {seed}: {dict(ends)}")
        assert ends[202, "cancelled"]
        assert set(ends) <= {(202, "cancelled"), (202, "succeeded"), (409, "succeeded")}


def seconds_of_a_life(plant: Plant, begin: Begin) -> float:
    started = time.monotonic()
    assert plant.finished(begin())["status"] == "succeeded"
    return time.monotonic() - started


def race(plant: Plant, begin: Begin, delay: float) -> tuple[int, str]:
    job_id = begin()
    time.sleep(delay)
    status = cancel(plant, job_id)
    told = plant.job(job_id)["status"]
    if status == 409:
        assert told == "succeeded", "it was not over, and could not be cancelled"
    job: Json = plant.finished(job_id)
    return status, job["status"]


@pytest.fixture(scope="class")
def slow_heartbeat(shared_plant: Plant) -> Iterator[None]:
    usual = {name: shared_plant.settings[name] for name in ("JOB_HEARTBEAT_SECONDS", "JOB_LEASE_SECONDS")}
    shared_plant.api.restart(
        JOB_HEARTBEAT_SECONDS=str(SLOW_HEARTBEAT_SECONDS), JOB_LEASE_SECONDS=str(3 * SLOW_HEARTBEAT_SECONDS)
    )
    yield
    shared_plant.api.restart(**usual)


@pytest.mark.alone
@pytest.mark.usefixtures("slow_heartbeat")
class TestHearingOfACancellation:
    """The child is stopped, so that no progress gives a reason to call."""

    def test_at_once_where_redis_tells_it(self, plant: Plant) -> None:
        seconds = seconds_until_cancelled(plant)

        print(f"\ntold: {seconds:.2f} s")
        assert seconds <= AT_ONCE_SECONDS

    def test_at_the_next_heartbeat_where_redis_is_frozen(self, plant: Plant) -> None:
        plant["redis-cache"].freeze()

        seconds = seconds_until_cancelled(plant)

        print(f"\nnot told: {seconds:.2f} s")
        assert seconds <= SLOW_HEARTBEAT_SECONDS + AT_ONCE_SECONDS


def seconds_until_cancelled(plant: Plant) -> float:
    posted: list[str] = []
    fitting = catch(
        plant.workshops,
        Phase.FITTING,
        lambda: posted.append(plant.train_long()),
    )
    children = fitting.workshop.children()
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(1)  # what it had said before is passed on meanwhile
    started = time.monotonic()
    assert cancel(plant, posted[0]) == 202
    assert plant.finished(posted[0])["status"] == "cancelled"
    seconds = time.monotonic() - started
    wait_until(lambda: not fitting.workshop.children(), "no process is left", seconds=5)
    return seconds
