"""Storage that goes away while a model is saved."""

import hashlib
import json
from datetime import datetime
from itertools import pairwise

import pytest

from tests.faults.plant import Plant
from tests.faults.workshop import Caught, Phase, catch, wait_until

SLOW_BYTES_PER_SECOND = 30_000


def saving(plant: Plant) -> tuple[str, Caught]:
    """A job that is about to store its first file."""
    posted: list[str] = []
    caught = catch(plant.workshops, Phase.UPLOADING, lambda: posted.append(plant.train()))
    return posted[0], caught


class TestStorageThatGoesAway:
    def test_the_job_succeeds_if_it_is_back_in_time(self, plant: Plant) -> None:
        job_id, caught = saving(plant)
        caught.workshop.store_line.refuse()
        caught.release(dropped=True)
        wait_until(lambda: tries_of(caught, job_id), "it was tried")
        caught.workshop.store_line.passing()

        job = plant.finished(job_id)
        assert (job["status"], job["attempt"]) == ("succeeded", 1)

    def test_the_job_fails_with_the_cause_if_it_stays_away(self, plant: Plant) -> None:
        before = artifacts(plant)
        job_id, caught = saving(plant)
        for workshop in plant.workshops:
            workshop.store_line.refuse()
        caught.release(dropped=True)

        job = plant.finished(job_id)
        pauses = pauses_between(tries_of(caught, job_id))
        print(f"\npauses before trying again: {[round(each, 2) for each in pauses]} s")
        assert (job["status"], job["error"]["code"]) == ("failed", "storage_unavailable")
        assert [each["outcome"] for each in plant.attempts(job_id)] == ["interrupted"] * 3
        assert plant.value("SELECT count(*) FROM model_versions WHERE job_id = $1::uuid", job_id) == 0
        assert len({round(each, 2) for each in pauses}) > 1, "a crowd of jobs would come back as a crowd"
        for key in artifacts(plant) - before:
            assert hashlib.sha256(plant.store.read(key)).hexdigest() == key.rpartition("/")[2]

    @pytest.mark.parametrize("way", ["slow", "reset"])
    def test_a_bad_line_costs_time_only(self, plant: Plant, way: str) -> None:
        job_id, caught = saving(plant)
        line = caught.workshop.store_line
        if way == "slow":
            line.slow(SLOW_BYTES_PER_SECOND)
        else:
            line.reset()
            line.passing()
        caught.release()

        job = plant.finished(job_id)
        assert (job["status"], job["attempt"]) == ("succeeded", 1)


def artifacts(plant: Plant) -> set[str]:
    return set(plant.store.list_keys("artifacts/"))


def tries_of(caught: Caught, job_id: str) -> list[datetime]:
    """When this worker met a storage that did not answer."""
    log = caught.workshop.program.log.read_text().splitlines()
    lines = [json.loads(line) for line in log if '"job.storage_unavailable"' in line and job_id in line]
    return [datetime.fromisoformat(line["@timestamp"]) for line in lines]


def pauses_between(moments: list[datetime]) -> list[float]:
    return [(later - sooner).total_seconds() for sooner, later in pairwise(moments)]
