import pytest

from ml_service.training.progress import Meter
from platform_kit.contract.jobs import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("ml_service.training.progress.time.monotonic", clock)
    return clock


class TestMeter:
    def test_a_long_fit_reports_about_five_times_a_second(self, clock: Clock) -> None:
        seen: list[Progress] = []
        meter = Meter(seen.append)
        meter.stage("fitting", start=10, end=90)

        for done in range(1, 501):
            clock.now += 0.01
            meter.rounds("tree", done, 500)

        assert 20 <= len(seen) - 1 <= 26
        percents = [each.percent for each in seen]
        assert percents == sorted(percents)
        assert (percents[0], percents[-1]) == (10, 90)
        assert seen[-1].stage == "tree 500 of 500"

    def test_the_time_left_follows_the_pace(self, clock: Clock) -> None:
        seen: list[Progress] = []
        meter = Meter(seen.append)
        meter.stage("fitting", start=0, end=100)
        clock.now += 3

        meter.rounds("round", 30, 100)

        assert (seen[-1].percent, seen[-1].eta_seconds) == (30, 7)
