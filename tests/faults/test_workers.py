"""Workers come and go while jobs wait and run, and a child that dies every time takes nobody with it."""

import os
import signal
from contextlib import AbstractContextManager
from functools import partial

import pytest

from tests.faults.figures import Times, repeating
from tests.faults.plant import Plant
from tests.faults.program import is_alive
from tests.faults.workshop import Phase, catch, wait_until
from tests.verify.loop import body_of

HANDED_ON_SECONDS = 4.0
NEIGHBOURS = 6
MOST_TIMES_SLOWER, SLACK_SECONDS = 3.0, 0.1


class TestJoining:
    def test_a_second_worker_takes_its_share_of_what_waits(self, plant: Plant) -> None:
        first, second = (workshop.program for workshop in plant.workshops[:2])
        first.stop()
        second.stop()
        job_ids = [plant.train() for _ in range(6)]

        first.start()
        second.start()

        assert {plant.finished(job_id)["status"] for job_id in job_ids} == {"succeeded"}
        workers = [plant.attempts(job_id)[0]["worker"].split("@")[0] for job_id in job_ids]
        print(f"\n{workers}")
        assert set(workers) == {first.name, second.name}


@pytest.mark.alone
class TestLeaving:
    def test_a_worker_that_is_told_to_end_hands_its_job_back_at_once(self, plant: Plant) -> None:
        posted: list[str] = []
        caught = catch(
            plant.workshops,
            Phase.FITTING,
            lambda: posted.append(plant.train_long()),
        )
        children = caught.workshop.children()
        caught.workshop.program.signal(signal.SIGTERM)

        job = plant.finished(posted[0])
        first, second = plant.attempts(posted[0])
        handed_on = (second["started_at"] - first["ended_at"]).total_seconds()
        print(f"\nhanded on within {handed_on:.2f} s")
        assert (first["outcome"], second["outcome"]) == ("released", "succeeded")
        assert handed_on <= HANDED_ON_SECONDS
        assert job["max_attempts"] == 4, "an attempt that was handed back does not count"
        assert not any(map(is_alive, children))


@pytest.mark.alone
class TestPoison:
    def test_a_child_that_dies_three_times_fails_its_job_and_disturbs_nobody(self, plant: Plant) -> None:
        before, during = Times(), Times()
        with listing(plant, before):
            finish_neighbours(plant)
        with listing(plant, during):
            job_id = plant.train_long()
            kill_three_children(plant, job_id)
            finish_neighbours(plant)
            job = plant.finished(job_id)
        print(f"\nGET /jobs before: {before}\nGET /jobs during: {during}")

        assert (job["status"], job["attempt"], job["error"]["code"]) == ("failed", 3, "child_crashed")
        assert [each["outcome"] for each in plant.attempts(job_id)] == ["interrupted"] * 3
        assert during.share(95) <= MOST_TIMES_SLOWER * before.share(95) + SLACK_SECONDS


def listing(plant: Plant, times: Times) -> AbstractContextManager[None]:
    """Somebody looks at the list of jobs all the time."""

    def look() -> None:
        body_of(times.of(lambda: plant.impatient.api("GET", "/jobs")))

    return repeating(look, pause_seconds=0.02)


def finish_neighbours(plant: Plant) -> None:
    for dataset_id in [plant.profile() for _ in range(NEIGHBOURS)]:
        wait_until(partial(is_ready, plant, dataset_id), "a neighbour's data set is ready")


def is_ready(plant: Plant, dataset_id: str) -> bool:
    return bool(body_of(plant.maker.api("GET", f"/datasets/{dataset_id}"))["status"] == "ready")


def kill_three_children(plant: Plant, job_id: str) -> None:
    for attempt in range(1, 4):
        wait_until(partial(child_of, plant, job_id, attempt), f"attempt {attempt} has a child")
        for pid in child_of(plant, job_id, attempt):
            os.kill(pid, signal.SIGKILL)


def child_of(plant: Plant, job_id: str, attempt: int) -> list[int]:
    if plant.job(job_id)["attempt"] != attempt:
        return []
    return [pid for each in plant.workshops if each.job_id == job_id for pid in each.children()]
