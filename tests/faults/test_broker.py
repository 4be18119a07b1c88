"""The broker goes away, stands still or forgets while jobs are posted: nobody waits for it, and every job runs."""

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pytest
import redis

from tests.faults.figures import Times
from tests.faults.plant import Plant
from tests.faults.workshop import wait_until
from tests.verify.loop import body_of

POSTERS = 8
JOBS = 20
TRAININGS_IN = 10
"""One job of so many is a training, the others are profiles."""
OUTAGE_SECONDS, FROZEN_SECONDS, SOAKING_SECONDS = 2.0, 6.0, 30.0
LONGEST_POST_SECONDS, SLOWER = 0.3, 3


@dataclass
class Outage:
    """What happens to the broker, and for how long."""

    plant: Plant
    seconds: float
    frozen_seconds: float

    def stopped(self) -> None:
        self.plant.broker.stop()
        time.sleep(self.seconds)
        self.plant.broker.start()

    def frozen(self) -> None:
        self.plant.broker.freeze()
        time.sleep(self.frozen_seconds)
        self.plant.broker.thaw()

    def flushed(self) -> None:
        for _ in range(10):
            with redis.Redis.from_url(self.plant.environment["BROKER_URL"]) as client:
                client.flushall()
            time.sleep(self.seconds / 10)

    def killed(self) -> None:
        self.plant.broker.kill()
        time.sleep(self.seconds)
        self.plant.broker.await_ready()

    def killed_without_aof(self) -> None:
        """A broker that kept no file has nothing left."""
        self.plant.broker.stop(9)
        for kept in (self.plant.folder / "data" / "redis-broker").glob("appendonly*"):
            shutil.rmtree(kept)
        time.sleep(self.seconds)
        self.plant.broker.start()


OUTAGES: list[Callable[[Outage], None]] = [
    Outage.stopped,
    Outage.frozen,
    Outage.flushed,
    Outage.killed,
    Outage.killed_without_aof,
]


@pytest.fixture(scope="module")
def usual(shared_plant: Plant) -> Times:
    """Posted in the same way with nothing the matter: what this machine can do today."""
    times = Times()
    with ThreadPoolExecutor(POSTERS) as pool:
        posted = list(pool.map(partial(post, shared_plant, times), range(JOBS)))
    for path in posted:
        wait_until(partial(is_well, shared_plant, path), f"{path} is done")
    return times


@pytest.fixture(scope="module")
def posts(usual: Times) -> Iterator[Times]:
    """Of all outages together."""
    times = Times()
    yield times
    print(f"\nPOST with the broker: {usual}\nPOST while the broker is away: {times}")


@pytest.mark.alone
class TestBrokerThatGoesAway:
    @pytest.mark.parametrize("happen", OUTAGES, ids=lambda each: each.__name__)
    def test_nobody_waits_for_it_and_every_job_runs(
        self, plant: Plant, posts: Times, minutes: float | None, happen: Callable[[Outage], None]
    ) -> None:
        frozen_seconds = SOAKING_SECONDS if minutes else FROZEN_SECONDS
        outage = Outage(plant, OUTAGE_SECONDS, frozen_seconds)
        with ThreadPoolExecutor(POSTERS + 1) as pool:
            happening = pool.submit(happen, outage)
            posted = list(pool.map(partial(post, plant, posts), range(JOBS)))
            happening.result()

        print(f"\n{happen.__name__}: {posts}")
        for path in posted:
            wait_until(partial(is_well, plant, path), f"{path} is done")

    def test_the_slowest_post_in_a_hundred_is_as_quick_as_with_it(self, posts: Times, usual: Times) -> None:
        """A machine that is busy otherwise is slow with the broker as well."""
        assert posts.share(99) <= max(LONGEST_POST_SECONDS, SLOWER * usual.share(99))


def post(plant: Plant, times: Times, number: int) -> str:
    """Returns where the outcome is to be seen."""
    time.sleep(number % POSTERS * OUTAGE_SECONDS / POSTERS / 2)
    if number % TRAININGS_IN == 0:
        return f"/jobs/{times.of(lambda: plant.train(caller=plant.impatient))}"
    return f"/datasets/{times.of(lambda: plant.profile(caller=plant.impatient))}"


def is_well(plant: Plant, path: str) -> bool:
    status = body_of(plant.maker.api("GET", path))["status"]
    assert status not in ("failed", "rejected", "cancelled")
    return status in ("succeeded", "ready")
