"""Kill any one process at any step: clients wait a few seconds at most, nothing is lost, nothing happens twice."""

import os
import signal
import time
from collections.abc import Callable, Iterator

import httpx2
import pytest

from tests.end_to_end.stack import Stack
from tests.verify.calling import Caller
from tests.verify.loop import (
    FLIGHTS,
    Json,
    body_of,
    deploy,
    new_model,
    rows_of,
    settled_dataset,
    trained,
)
from tests.verify.scene import Scene

pytestmark = pytest.mark.timeout(180)

LONGEST_OUTAGE_SECONDS = 10.0
KEPT_ON_DISK_SECONDS = 2.5
"""After so long ml-service has written down whom it knows."""
IN_THE_LOOP = ["postgres", "redis-broker", "redis-cache", "s3", "api-server", "ml-service"]
BESIDE_IT = ["relay", "worker-ml", "worker-data", "worker-general", "beat", "flower"]
"""What becomes of jobs without them is in `tests/faults`."""


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
        for name in (*IN_THE_LOOP, *BESIDE_IT):
            stack.await_return(name, old_pid=0)

        assert set(stack.pids()) == {*IN_THE_LOOP, *BESIDE_IT}

    @pytest.mark.parametrize("name", BESIDE_IT)
    def test_it_is_started_again(self, stack: Stack, name: str) -> None:
        stack.await_return(name, old_pid=stack.kill(name))

    @pytest.mark.parametrize("name", IN_THE_LOOP)
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


class TestOutages:
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

    def test_callers_who_are_known_are_answered_by_a_service_that_starts_while_all_others_are_away(
        self, stack: Stack, scene: Scene
    ) -> None:
        row, endpoint = scene.rows[1].features, scene.model["endpoint"]
        before = body_of(scene.maker.predict(endpoint, row, explain=True))
        stranger = scene.newcomer()
        time.sleep(KEPT_ON_DISK_SECONDS)
        away = ("postgres", "api-server", "s3", "redis-broker", "redis-cache")
        frozen = [stack.pids()[name] for name in away]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            stack.await_return("ml-service", old_pid=stack.kill("ml-service"))
            during = body_of(_once_it_listens(scene.maker, endpoint, row))
            refused = stranger.predict(endpoint, row)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)

        assert during["confidence_score"] == before["confidence_score"]
        assert during["explanation"] == before["explanation"]
        assert (refused.status_code, refused.json()["code"]) == (503, "control_plane_unavailable")
        assert int(refused.headers["Retry-After"]) > 0


def _once_it_listens(caller: Caller, endpoint: str, row: Json) -> httpx2.Response:
    deadline = time.monotonic() + 30
    while True:
        try:
            return caller.predict(endpoint, row, explain=True)
        except httpx2.TransportError:
            assert time.monotonic() < deadline, "ml-service did not come back"
            time.sleep(0.1)
