import os
from collections.abc import Iterator

import pytest

from embedded import Platform
from tests.fuzz.platform import faults, running_services


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Whatever was sent to them, no request may end in a 500."""
    with running_services(tmp_path_factory.mktemp("fuzz") / "data") as platform:
        yield platform
        assert not faults(platform)


@pytest.fixture(scope="session")
def minutes() -> float | None:
    """For how long, all runs together; None: once through, the same way each time."""
    found = os.environ.get("SOAK_MINUTES")
    return float(found) if found else None
