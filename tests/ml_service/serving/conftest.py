from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from ml_service.serving.control_plane import ControlPlane as AskedControlPlane
from ml_service.serving.principals import Principals
from ml_service.settings import Settings
from platform_kit.contract.serving import ServedVersion
from platform_kit.plumbing.object_store import ObjectStore
from platform_kit.plumbing.rate_limits import RateLimits, RequestLimits
from tests.ml_service.peer import Peer
from tests.ml_service.serving.asking import FAST
from tests.ml_service.serving.calling import ControlPlane, running_service, serves
from tests.ml_service.serving.publishing import publish, served


@pytest.fixture
def control(peer: Peer) -> ControlPlane:
    return ControlPlane(peer)


@pytest.fixture
def cached_demos(settings: Settings, demos: object, demo_folder: Path) -> None:
    """The demo models as an earlier start left them."""
    settings.ml_cache_dir.mkdir(parents=True)
    (settings.ml_cache_dir / "demo").symlink_to(demo_folder)


@pytest.fixture
async def client(
    settings: Settings, control: ControlPlane, cached_demos: None
) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_service(settings) as http:
        yield http


@pytest.fixture
def churn(store: ObjectStore, demos: object, demo_folder: Path) -> ServedVersion:
    return served(publish(store, demo_folder / "demo_model_1"))


@pytest.fixture
async def deployed(
    client: httpx2.AsyncClient, control: ControlPlane, churn: ServedVersion
) -> httpx2.AsyncClient:
    """The service, once it serves `churn`."""
    control.change(active=[churn])
    await serves(client, 1)
    return client


@pytest.fixture
def quick(settings: Settings) -> Settings:
    return settings.model_copy(update=FAST)


@pytest.fixture
async def control_plane(quick: Settings) -> AsyncIterator[AskedControlPlane]:
    control_plane = AskedControlPlane.from_settings(quick)
    yield control_plane
    await control_plane.close()


@pytest.fixture
def limits() -> RequestLimits:
    return RequestLimits(RateLimits(), "192.0.2.1")


@pytest.fixture
def principals(control_plane: AskedControlPlane, quick: Settings) -> Principals:
    return Principals(control_plane, quick)
