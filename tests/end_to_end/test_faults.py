"""Kill any one process at any step: clients wait a few seconds at most, nothing is lost, nothing happens twice."""

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.end_to_end.stack import Stack
from tests.verify.calling import Caller
from tests.verify.loop import (
    FLIGHTS,
    Json,
    body_of,
    deploy,
    finished_job,
    new_model,
    rows_of,
    settled_dataset,
    trained,
)
from tests.verify.scene import Scene

pytestmark = pytest.mark.timeout(180)

LONGEST_OUTAGE_SECONDS = 10.0
PROCESSES = [
    "postgres",
    "redis-broker",
    "redis-cache",
    "s3",
    "api-server",
    "relay",
    "ml-service",
    "worker-ml",
    "worker-data",
    "worker-general",
    "beat",
    "flower",
]
LONG = {"n_estimators": 1500, "learning_rate": 0.01, "seed": 5}


@pytest.fixture
def patient(stack: Stack) -> Iterator[Caller]:
    """A newcomer whose client tries again for as long as an outage may last."""
    patience = LONGEST_OUTAGE_SECONDS
    with Scene(stack.api_url, stack.ml_url, stack.data_dir, patience_seconds=patience) as scene:
        yield scene.newcomer()


def go_round(caller: Caller, *, strike: Callable[[], None]) -> Json:
    """The loop, with `strike` at three moments: file sent, training under way, model trained. Returns the model."""
    form = {"data": {"name": "flights"}, "files": {"file": ("flights.csv", FLIGHTS.read_bytes())}}
    made = body_of(caller.api("POST", "/datasets", **form))
    strike()
    dataset = settled_dataset(caller, made["id"])
    assert dataset["status"] == "ready", dataset["error"]
    model = new_model(caller, dataset["id"], name="struck")
    strike()
    model = trained(caller, model)
    strike()
    endpoint = deploy(caller, model)["endpoint"]
    row = rows_of(FLIGHTS, dataset, target="arrival")[0].features
    answer = body_of(caller.predict(endpoint, row, return_probabilities=True))
    kept = body_of(caller.api("POST", "/predictions", json={"model_id": endpoint, "input_data": row}))
    assert answer["prediction"] == kept["prediction"]
    return model


class TestKillingOneProcess:
    def test_every_process_is_among_those_that_are_killed_here(self, stack: Stack) -> None:
        for name in PROCESSES:
            stack.await_return(name, old_pid=0)

        assert set(stack.pids()) == set(PROCESSES)

    @pytest.mark.parametrize("name", PROCESSES)
    def test_the_loop_completes(self, stack: Stack, patient: Caller, name: str) -> None:
        killed: list[int] = []

        def strike() -> None:
            if killed:
                stack.await_return(name, old_pid=killed[-1])
            killed.append(stack.kill(name))

        model = go_round(patient, strike=strike)

        assert body_of(patient.api("GET", f"/models/{model['id']}/versions"))["total"] == 1
        assert patient.longest_outage_seconds <= LONGEST_OUTAGE_SECONDS
        stack.await_return(name, old_pid=killed[-1])


class TestLosingTheTrainingWorker:
    def test_the_job_finishes_on_another_attempt_with_exactly_one_version(
        self, stack: Stack, scene: Scene
    ) -> None:
        maker = scene.maker
        model = new_model(maker, scene.flights["id"], name="worker lost", parameters=LONG)
        running = under_way(maker, model["job_id"])

        stack.kill("worker-ml")

        job = finished_job(maker, running["id"])
        assert (job["status"], job["attempt"]) == ("succeeded", 2)
        assert job["result"]["version"] == 1
        assert body_of(maker.api("GET", f"/models/{model['id']}/versions"))["total"] == 1

    def test_its_training_does_not_run_on_without_it(self, stack: Stack, scene: Scene) -> None:
        model = new_model(scene.maker, scene.flights["id"], name="no orphan", parameters=LONG)
        under_way(scene.maker, model["job_id"])
        children = children_of(stack.pids()["worker-ml"])
        assert children

        stack.kill("worker-ml")

        deadline = time.monotonic() + 5
        while any(map(is_alive, children)):
            assert time.monotonic() < deadline, f"of {children} some still run"
            time.sleep(0.1)
        assert finished_job(scene.maker, model["job_id"])["status"] == "succeeded"

    def test_a_worker_that_is_told_to_end_hands_its_job_back_at_once(
        self, stack: Stack, scene: Scene
    ) -> None:
        maker = scene.maker
        model = new_model(maker, scene.flights["id"], name="handed back", parameters=LONG)
        under_way(maker, model["job_id"])

        os.kill(stack.pids()["worker-ml"], signal.SIGTERM)

        job = finished_job(maker, model["job_id"])
        assert job["status"] == "succeeded"
        assert body_of(maker.api("GET", f"/models/{model['id']}/versions"))["total"] == 1


class TestOutages:
    def test_without_the_broker_submissions_are_accepted_and_done_later(
        self, stack: Stack, scene: Scene
    ) -> None:
        pid = stack.pids()["redis-broker"]
        os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            model = new_model(scene.maker, scene.flights["id"], name="broker frozen")
            assert time.monotonic() - started < 2
            time.sleep(2)
        finally:
            os.kill(pid, signal.SIGCONT)

        assert trained(scene.maker, model)["version"] == 1

    def test_predictions_go_on_while_the_database_and_the_api_are_away(
        self, stack: Stack, scene: Scene
    ) -> None:
        row, endpoint = scene.rows[0].features, scene.model["endpoint"]
        before = body_of(scene.maker.predict(endpoint, row))
        frozen = [stack.pids()[name] for name in ("postgres", "api-server", "s3", "redis-broker")]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(3)
            during = [body_of(scene.maker.predict(endpoint, row)) for _ in range(5)]
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)

        assert {each["confidence_score"] for each in during} == {before["confidence_score"]}


def under_way(caller: Caller, job_id: str) -> Json:
    """Wait until the job runs and has shown progress."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        job: Json = body_of(caller.api("GET", f"/jobs/{job_id}"))
        assert job["status"] in ("queued", "running"), job
        if job["status"] == "running" and job["progress"]["percent"] > 0:
            return job
        time.sleep(0.1)
    raise AssertionError(f"the job shows no progress: {job}")


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        direct = [int(word) for word in file.read().split()]
    tasks = [int(name) for name in os.listdir(f"/proc/{pid}/task") if int(name) != pid]
    for task in tasks:
        with open(f"/proc/{pid}/task/{task}/children") as file:
            direct += [int(word) for word in file.read().split()]
    return direct


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
