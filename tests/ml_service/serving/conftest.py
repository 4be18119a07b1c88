from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
import redis

from ml_service.serving.control_plane import ControlPlane as AskedControlPlane
from ml_service.serving.principals import Principals
from ml_service.settings import Settings
from platform_kit.contract.serving import ServedVersion
from platform_kit.plumbing.object_store import ObjectStore
from platform_kit.plumbing.rate_limits import RateLimits, RequestLimits
from tests.ml_service.peer import Peer
from tests.ml_service.serving.asking import FAST
from tests.ml_service.serving.calling import ControlPlane, running_inside, running_service, serves
from tests.ml_service.serving.crowd import Crowd, trained
from tests.ml_service.serving.processes import Process
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
def served_demos(settings: Settings, control: ControlPlane, demos: object, demo_folder: Path) -> Path:
    """For services that are processes of their own: the settings are in the environment, somebody says what to serve;
    the demo models are here."""
    return demo_folder


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


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    return trained(tmp_path_factory.mktemp("crowd"))


@pytest.fixture
def shared_redis(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator["redis.Redis"]:
    """The Redis that all processes share, empty. It is waited for longer than in life, where a busy machine may not."""
    monkeypatch.setattr("ml_service.serving.prediction_cache.TIMEOUT_SECONDS", 5.0)
    with redis.Redis.from_url(settings.cache_url.get_secret_value(), protocol=2) as client:
        client.flushdb()
        yield client


@pytest.fixture
def slow_models(settings: Settings, cached_demos: None, shared_redis: "redis.Redis") -> Settings:
    """Every model counts as one that takes longer than asking Redis."""
    return settings.model_copy(update={"prediction_cache_shared_from_microseconds": 0})


@pytest.fixture
async def process(
    slow_models: Settings, control: ControlPlane, churn: ServedVersion
) -> AsyncIterator[Process]:
    control.change(active=[churn])
    async with running_inside(slow_models) as (http, parts):
        await serves(http, 1)
        yield Process(http, parts)


@pytest.fixture
async def second(slow_models: Settings, process: Process, tmp_path: Path) -> AsyncIterator[Process]:
    """A second process on another machine."""
    (tmp_path / "other").mkdir()
    settings = slow_models.model_copy(update={"ml_cache_dir": tmp_path / "other", "demo_models": False})
    async with running_inside(settings) as (http, parts):
        await serves(http, 1)
        yield Process(http, parts)
