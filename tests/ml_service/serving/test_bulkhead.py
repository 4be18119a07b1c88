"""One model that sleeps, fails or never answers: it alone is away, and it comes back when it is well."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from tests.ml_service.serving.calling import OWNER, ROW
from tests.ml_service.serving.faulty_service import NAP_SECONDS
from tests.ml_service.serving.forest import grow
from tests.ml_service.serving.load import Outcome, load
from tests.ml_service.serving.publishing import publish, served
from tests.ml_service.serving.service_process import ServiceProcess, scene

CALLERS, RATE = 20, 100.0
ROUND_SECONDS, ROUNDS = 3.0, 4
GROWTH, NOISE_MS = 1.2, 5.0
"""What the others may notice: a fifth, and what two runs on one machine differ by anyway."""
GRACE_SECONDS = 5.0


class Bench:
    """A service with a model that can be spoilt, and one that is well."""

    def __init__(
        self, service: ServiceProcess, faults: Path, digests: list[str], row: dict[str, Any]
    ) -> None:
        self.service, self._faults, self._digests, self.row = service, faults, digests, row
        names = ("churn", "quick", "demo_model_1")
        self.bad, self.quick, self.good = (f"{service.url}/predict/{name}" for name in names)

    def plant(self, fault: str | None) -> None:
        """In both models, the one that is asked in threads and the quick one."""
        self._faults.write_text(json.dumps(dict.fromkeys(self._digests, fault)))

    def ask(self) -> httpx2.Response:
        body = {"input_data": self.row, "use_cache": False}
        return httpx2.post(self.bad, json=body, headers=OWNER, timeout=30)

    def others(self) -> Outcome:
        return load(self.good, ROW, ROUND_SECONDS, rate=RATE).outcome()

    def recovers(self, seconds: float = 20) -> httpx2.Response:
        self.plant(None)
        deadline = time.monotonic() + seconds
        while (answer := self.ask()).status_code != 200:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.2)
        return answer


@pytest.fixture(scope="module")
def bench(
    environment: dict[str, str], demos: object, demo_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bulkhead")
    faults = folder / "faults.json"
    faults.write_text("{}")
    own = {
        "FAULTS": str(faults),
        "PREDICTION_SECONDS": "1.5",
        "program": "tests.ml_service.serving.faulty_service",
    }
    with scene(environment, folder, demo_folder) as place, place.service(**own) as process:
        row = grow(folder, trees=500)
        slow = publish(place.store, folder)
        quick = publish(place.store, demo_folder / "demo_model_1", seed=99)
        active = [served(slow), served(quick, endpoint="quick", model_id=UUID(int=2))]
        place.control.change(active=active)
        process.await_version(1)
        process.await_version(1, "quick")
        yield Bench(process, faults, [slow.digest, quick.digest], row)


def assert_told(answer: httpx2.Response) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert int(answer.headers["retry-after"]) >= 1


class TestOneBadModel:
    @pytest.mark.timeout(240)
    @pytest.mark.parametrize(
        ("fault", "plan"),
        [("sleep", {"connections": CALLERS}), ("raise", {"rate": RATE, "connections": CALLERS})],
    )
    def test_is_away_alone_and_comes_back(self, bench: Bench, fault: str, plan: dict[str, Any]) -> None:
        pairs = []
        for _ in range(ROUNDS):
            bench.recovers()
            before = bench.others()
            bench.plant(fault)
            calling = load(bench.bad, bench.row, ROUND_SECONDS, headers=OWNER, **plan)
            time.sleep(0.3)
            during, bad = bench.others(), calling.outcome()
            print(f"{fault}: others {before.told()} -> {during.told()}; its own callers: {bad.told()}")
            assert (set(during.milliseconds), during.broken) == ({200}, {})
            assert (set(bad.milliseconds), bad.broken, bad.wordless) == ({503}, {}, 0)
            pairs.append((before.at(0.99, 200), during.at(0.99, 200)))
            if pairs[-1][1] <= GROWTH * pairs[-1][0] + NOISE_MS:
                break

        assert any(after <= GROWTH * before + NOISE_MS for before, after in pairs), pairs
        assert bench.recovers().json()["metadata"]["cache_used"] is False

    def test_that_was_quick_and_dozes_off_holds_the_others_up_for_a_moment_only(self, bench: Bench) -> None:
        """Quick models are asked on the event loop: until it is known that one is not quick any more."""
        bench.recovers()
        bench.plant("nap")
        calling = load(bench.quick, ROW, 2 * ROUND_SECONDS, headers=OWNER, connections=2)
        time.sleep(ROUND_SECONDS)
        others, quick = bench.others(), calling.outcome()

        print(f"others {others.told()}; its own callers: {quick.told()}")
        assert others.at(1, 200) < NAP_SECONDS * 1000 / 2
        assert quick.at(0.5, 200) > NAP_SECONDS * 1000

    def test_that_fails_is_left_alone_and_tried_again(self, bench: Bench) -> None:
        bench.recovers()
        bench.plant("raise")
        failed = [bench.ask() for _ in range(5)]
        began = time.perf_counter()
        refused = bench.ask()
        seconds = time.perf_counter() - began

        for each in [*failed, refused]:
            assert_told(each)
        assert "left alone" in refused.json()["detail"]
        assert seconds < 1
        assert bench.recovers().status_code == 200

    def test_that_never_answers_keeps_its_threads_and_no_others(self, bench: Bench) -> None:
        """The last test of this service: the threads stay where they are."""
        bench.recovers()
        bench.plant("block")
        calling = load(bench.bad, bench.row, ROUND_SECONDS, headers=OWNER, connections=CALLERS)
        others, stuck = bench.others(), calling.outcome()
        code = bench.service.stop()

        print(f"others {others.told()}; its own callers: {stuck.told()}")
        assert (set(others.milliseconds), others.broken) == ({200}, {})
        assert (set(stuck.milliseconds), stuck.broken, stuck.wordless) == ({503}, {}, 0)
        assert code == 0
