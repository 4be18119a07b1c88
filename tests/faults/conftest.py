import os
from collections.abc import Generator, Iterator

import pytest

from tests.faults.oracle import check_nothing_lost
from tests.faults.plant import Plant


@pytest.fixture(scope="session")
def minutes() -> float | None:
    """For how long campaigns may go on; None: the short ones only."""
    found = os.environ.get("SOAK_MINUTES")
    return float(found) if found else None


@pytest.fixture(scope="session")
def shared_plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Whatever was done to it, no request may have ended in a 500."""
    with Plant(tmp_path_factory.mktemp("plant")) as plant:
        plant.few, plant.flights  # noqa: B018  # uploaded before anything is broken
        yield plant
        assert not plant.faults()


@pytest.fixture
def plant(shared_plant: Plant) -> Iterator[Plant]:
    """Whole when the test begins; when it has ended, nothing may be lost."""
    yield shared_plant
    shared_plant.mend()
    check_nothing_lost(shared_plant)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    plant = getattr(item, "funcargs", {}).get("plant")
    if report.failed and plant is not None:
        report.sections.append(("the plant", plant.report()))
    return report
