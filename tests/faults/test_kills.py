"""`kill -9` of any process of ours, in every phase of a job: nothing is lost, and nothing happens twice."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.oracle import check_nothing_lost
from tests.faults.plant import Plant
from tests.faults.processes import PRODUCTION
from tests.faults.program import is_alive
from tests.faults.workshop import Caught, Phase, catch, wait_until

WORKER, CHILD, API, RELAY, BEAT = "worker", "child", "api-server", "relay", "beat"
PHASES = [each for each in Phase if each is not Phase.IDLE]
STRIKES = [
    *((WORKER, phase) for phase in PHASES),
    (WORKER, Phase.CLAIMING),
    (CHILD, Phase.READING),
    *[(CHILD, Phase.FITTING)] * 2,
    *((API, phase) for phase in PHASES if phase is not Phase.READING),
    *((RELAY, phase) for phase in (Phase.CLAIMING, Phase.FITTING, Phase.UPLOADING)),
    *((BEAT, phase) for phase in (Phase.READING, Phase.BEFORE_COMMIT)),
]
QUICK_SECONDS, PRODUCTION_SECONDS = 40.0, 60.0
"""Within which a job whose process was killed is over; starting processes again is not ten times faster in tests."""


@dataclass(frozen=True)
class Kill:
    victim: str
    phase: Phase
    job_id: str
    at: datetime


class Killer:
    def __init__(self, plant: Plant, *, seed: int) -> None:
        self._plant, self._chance = plant, random.Random(seed)
        self.kills: list[Kill] = []

    def strike(self, victim: str, phase: Phase) -> None:
        """Have a job come to this phase, kill, and let go on what is left."""
        posted: list[str] = []
        answered = self._chance.random() < 0.5

        def post() -> None:
            posted.append(self._post(phase))

        if (victim, phase) == (CHILD, Phase.READING):
            caught = self._catch_reading_child(post)
        else:
            caught = catch(self._plant.workshops, phase, post, answered=answered)
        if caught.hold is not None:
            time.sleep(self._chance.uniform(0, 0.2))
        job_id = posted[0] if phase is Phase.CLAIMING else caught.workshop.job_id
        self.kills.append(Kill(victim, caught.workshop.phase, job_id, datetime.now(UTC)))
        self._kill(victim, caught)
        caught.release(dropped=victim in (WORKER, API))

    def _post(self, phase: Phase) -> str:
        """A job as short as this phase allows."""
        if phase in (Phase.CLAIMING, Phase.READING):
            return self._plant.job_of(self._plant.profile())
        return self._plant.train_long() if phase is Phase.FITTING else self._plant.train()

    def _catch_reading_child(self, post: Callable[[], None]) -> Caught:
        """From its start on: loading the libraries takes most of that phase."""
        post()
        ready: list[Caught] = []

        def is_there() -> bool:
            ready.extend(
                Caught(each, None)
                for each in self._plant.workshops
                if each.phase is Phase.READING and each.children()
            )
            return bool(ready)

        wait_until(is_there, "a child reads")
        return ready[0]

    def _kill(self, victim: str, caught: Caught) -> None:
        if victim == CHILD:
            children = caught.workshop.children()
            assert children
            for child in children:
                os.kill(child, signal.SIGKILL)
            return
        program = caught.workshop.program if victim == WORKER else self._plant[victim]
        pid = program.pid
        children = caught.workshop.children() if victim == WORKER else []
        program.kill()
        if pid is not None:
            program.await_end(pid)
        wait_until(lambda: not any(map(is_alive, children)), "the child ends with its worker", seconds=5)

    def report(self) -> str:
        counted = Counter((kill.victim, str(kill.phase)) for kill in self.kills)
        return "\n".join(
            f"  {victim:<11}{phase:<14}{count}" for (victim, phase), count in sorted(counted.items())
        )


@pytest.fixture(scope="module")
def housekeeping(shared_plant: Plant) -> Iterator[None]:
    """beat has somebody who does what it asks for; what it has asked for last is done before that one leaves."""
    shared_plant.start_housekeeping()
    yield
    shared_plant["beat"].stop()
    check_nothing_lost(shared_plant)
    shared_plant["worker-general"].stop()


class TestKilling:
    @pytest.mark.timeout(300)
    @pytest.mark.usefixtures("housekeeping")
    def test_every_job_comes_to_its_end_and_has_one_effect(self, plant: Plant) -> None:
        campaign(plant, seed=random.getrandbits(32), count=20, bound_seconds=QUICK_SECONDS)

    @pytest.mark.timeout(0)
    def test_two_hundred_kills_with_the_settings_of_production(
        self, tmp_path: Path, minutes: float | None
    ) -> None:
        if minutes is None:
            pytest.skip("two hundred kills take about twenty minutes: `make soak` does them")
        with Plant(tmp_path, settings=PRODUCTION, workers=3) as plant:
            plant.start_housekeeping()
            campaign(plant, seed=random.getrandbits(32), count=200, bound_seconds=PRODUCTION_SECONDS)
            check_nothing_lost(plant, seconds=120)
            assert not plant.faults()


def campaign(plant: Plant, *, seed: int, count: int, bound_seconds: float) -> None:
    print(f"\nseed {seed}")
    chance = random.Random(seed)
    strikes = [STRIKES[number % len(STRIKES)] for number in range(count)]
    chance.shuffle(strikes)
    killer = Killer(plant, seed=seed)
    for victim, phase in strikes:
        killer.strike(victim, phase)
    check_nothing_lost(plant, seconds=2 * bound_seconds)
    print(killer.report())
    waits = {seconds_to_end(plant, kill): kill for kill in killer.kills}
    print(f"{count} kills; from a kill to the end of its job: at most {max(waits):.1f} s")
    slowest = waits[max(waits)]
    assert {kill.phase for kill in killer.kills} >= set(PHASES)
    assert max(waits) <= bound_seconds, f"{slowest}\n{plant.story(slowest.job_id)}"


def seconds_to_end(plant: Plant, kill: Kill) -> float:
    row = plant.rows("SELECT status, error, finished_at FROM jobs WHERE id = $1::uuid", kill.job_id)[0]
    assert row["status"] == "succeeded" or row["error"], kill
    seconds: float = (row["finished_at"] - kill.at).total_seconds()
    return seconds
