"""One world for all tests of this folder: both services, two projects, and everybody who might ask."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

# OpenMP reads this when it is loaded: idle threads sleep, as in the training child.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from api_server.database import make_engine, make_sessions
from tests.access.building import build
from tests.access.services import Services, running_services
from tests.access.world import World


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with running_services(tmp_path_factory.mktemp("access")) as services:
        yield services


@pytest.fixture(scope="session")
async def world(services: Services) -> AsyncIterator[World]:
    engine = make_engine(services.settings)
    world = await build(services, make_sessions(engine))
    yield world
    await world.close()
    await engine.dispose()
