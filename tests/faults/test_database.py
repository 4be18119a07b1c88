"""Postgres goes away under running jobs: callers are asked to come back, and nothing is lost."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2

from tests.faults.figures import repeating
from tests.faults.plant import Plant
from tests.verify.calling import Caller

DROPS, BETWEEN_SECONDS = 25, 0.2
REQUESTS = 500
OURS = "datname = 'platform' AND usename = 'app'"


class Asker:
    """Reads and writes all the time, and remembers what came back."""

    def __init__(self, plant: Plant) -> None:
        self._plant, self._caller = plant, plant.impatient
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []

    def ask(self) -> None:
        self._note(self._caller.api("GET", "/jobs", params={"limit": 5}))
        body = {"name": self._plant.new_name("project")}
        self._note(self._caller.api("POST", "/projects", json=body))

    def _note(self, answer: httpx2.Response) -> None:
        self.statuses[answer.status_code] += 1
        if answer.status_code == 503:
            if "retry-after" not in answer.headers:
                self.faults.append("a 503 without Retry-After")
        elif answer.status_code not in (200, 201):
            self.faults.append(f"{answer.status_code}: {answer.text[:200]}")


class TestPostgresThatGoesAway:
    def test_callers_are_asked_to_come_back_and_jobs_finish(self, plant: Plant) -> None:
        job_ids = [plant.train_long() for _ in range(2)]
        asker = Asker(plant)
        with repeating(asker.ask, threads=4, pause_seconds=0.02):
            plant.worker_of(job_ids[0])
            restart(plant)
            for _ in range(DROPS):
                plant.rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}")
                time.sleep(BETWEEN_SECONDS)
        print(f"\n{dict(asker.statuses)}")

        assert not asker.faults
        assert asker.statuses[503]
        assert {plant.finished(job_id)["status"] for job_id in job_ids} == {"succeeded"}
        assert afterwards(plant.impatient) == {200: REQUESTS}


def restart(plant: Plant) -> None:
    """As an upgrade does: it ends its connections, and is back."""
    postgres = plant["postgres"]
    pid = postgres.pid
    assert pid is not None
    postgres.signal(postgres.recipe.stop_signal)
    postgres.await_end(pid)
    postgres.await_ready()


def afterwards(caller: Caller) -> dict[int, int]:
    """No pool has kept a connection that is dead."""

    def ask(_: int) -> int:
        return caller.api("GET", "/jobs", params={"limit": 5}).status_code

    with ThreadPoolExecutor(8) as pool:
        return dict(Counter(pool.map(ask, range(REQUESTS))))
