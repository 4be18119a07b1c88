"""Who holds a job, when holders stop, reapers are many, and doorbells ring more than once."""

import os
import signal
from collections.abc import Iterator

import httpx2
import pytest
from celery import Celery
from kombu import Exchange
from kombu import Queue as KombuQueue

from platform_kit.contract.jobs import RUN_JOB
from tests.faults.plant import Plant
from tests.faults.workshop import Caught, Phase, Workshop, catch, wait_until

GHOSTS = 6


def stop(workshop: Workshop) -> None:
    for pid in [workshop.program.pid, *workshop.children()]:
        if pid is not None:
            os.kill(pid, signal.SIGSTOP)


def go_on(workshop: Workshop) -> None:
    for pid in [workshop.program.pid, *workshop.children()]:
        if pid is not None:
            os.kill(pid, signal.SIGCONT)


class TestLeaseHolderThatStops:
    """It comes back while the next attempt is under way."""

    def test_what_it_says_later_is_refused(self, plant: Plant) -> None:
        posted: list[str] = []
        late = catch(plant.workshops, Phase.FITTING, lambda: posted.append(plant.train_long()))
        others = [each for each in plant.workshops if each is not late.workshop]
        second = catch(others, Phase.BEFORE_COMMIT, lambda: stop(late.workshop))
        go_on(late.workshop)
        wait_until(lambda: posted[0] in late.workshop.fenced, "the late one is refused", seconds=10)
        wait_until(lambda: not late.workshop.children(), "it gives up")
        second.release()
        wait_until(lambda: status_of(second) is not None, "the second end is answered")

        assert status_of(second) == 200
        assert_second_attempt_won(plant, posted[0])

    def test_its_late_success_is_refused_as_well(self, plant: Plant) -> None:
        posted: list[str] = []
        late = catch(plant.workshops, Phase.BEFORE_COMMIT, lambda: posted.append(plant.train()))
        others = [each for each in plant.workshops if each is not late.workshop]
        second = catch(others, Phase.READING, lambda: stop(late.workshop))
        late.release()
        go_on(late.workshop)
        wait_until(lambda: status_of(late) is not None, "the late end is answered")
        second.release()

        assert status_of(late) == 409
        assert_second_attempt_won(plant, posted[0])


def assert_second_attempt_won(plant: Plant, job_id: str) -> None:
    job = plant.finished(job_id)
    assert (job["status"], job["attempt"], job["result"]["version"]) == ("succeeded", 2, 1)
    assert [each["outcome"] for each in plant.attempts(job_id)] == ["lost", "succeeded"]
    assert plant.value("SELECT count(*) FROM model_versions WHERE job_id = $1::uuid", job_id) == 1


def status_of(caught: Caught) -> int | None:
    """What was answered to the request that was held."""
    assert caught.hold is not None
    assert caught.hold.exchange is not None
    return caught.hold.exchange.status


@pytest.fixture
def three_relays(plant: Plant) -> Iterator[None]:
    more = [plant.add_relay() for _ in range(2)]
    plant.start_all(more)
    yield
    for relay in more:
        relay.stop()


class TestReapers:
    @pytest.mark.usefixtures("three_relays")
    def test_three_of_them_requeue_each_lost_job_once(self, plant: Plant) -> None:
        for workshop in plant.workshops:
            workshop.program.stop()
        for _ in range(GHOSTS):
            plant.profile()
        claimed = [claim_as_ghost(plant, number) for number in range(GHOSTS)]
        assert len(set(claimed)) == GHOSTS

        wait_until(lambda: not lost_among(plant, claimed, still="running"), "all leases end", seconds=15)
        rows = plant.rows("SELECT * FROM job_attempts WHERE job_id = ANY($1::uuid[])", claimed)
        assert [(row["number"], row["outcome"]) for row in rows] == [(1, "lost")] * GHOSTS
        assert {queued_times(plant, job_id) for job_id in claimed} == {2}

        plant.start_all([workshop.program for workshop in plant.workshops])
        ends = [plant.finished(job_id) for job_id in claimed]
        assert [(job["status"], job["attempt"]) for job in ends] == [("succeeded", 2)] * GHOSTS


def claim_as_ghost(plant: Plant, number: int) -> str:
    """Claim a job as a worker that is never heard of again."""
    answer = httpx2.post(
        f"{plant.url}/internal/queues/data/claim",
        headers={"X-Internal-Token": plant.environment["INTERNAL_TOKEN"]},
        json={"worker": f"ghost-{number}"},
    )
    assert answer.status_code == 200, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


def lost_among(plant: Plant, job_ids: list[str], *, still: str) -> list[object]:
    found = plant.rows("SELECT id FROM jobs WHERE id = ANY($1::uuid[]) AND status = $2", job_ids, still)
    return [row["id"] for row in found]


def queued_times(plant: Plant, job_id: str) -> int:
    """How often it was queued: when it was submitted, and after each attempt that was lost."""
    states = plant.rows("SELECT body FROM job_events WHERE job_id = $1::uuid AND type = 'state'", job_id)
    return sum('"queued"' in row["body"] for row in states)


class TestDoorbell:
    def test_ringing_five_times_runs_a_job_once(self, plant: Plant) -> None:
        with doorbell(plant) as celery:
            caught_id: list[str] = []
            caught = catch(plant.workshops, Phase.READING, lambda: caught_id.append(plant.train()))
            for _ in range(5):
                celery.send_task(RUN_JOB, args=caught_id, queue="ml")
            caught.release()
            assert plant.finished(caught_id[0])["attempt"] == 1
            for _ in range(5):
                celery.send_task(RUN_JOB, args=caught_id, queue="ml")
        job_id = plant.train()  # behind them in the queue
        assert plant.finished(job_id)["status"] == "succeeded"

        assert [each["outcome"] for each in plant.attempts(caught_id[0])] == ["succeeded"]


def doorbell(plant: Plant) -> Celery:
    app = Celery("doorbell", broker=plant.environment["BROKER_URL"])
    app.conf.task_queues = [KombuQueue("ml", Exchange("ml"), routing_key="ml")]
    app.conf.task_ignore_result = True
    return app
