"""Real servers, a peer in place of api-server, and two small models trained for real."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# OpenMP reads this when it is loaded: idle threads sleep, as in the training child.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from ml_service.serving import demo_models
from ml_service.serving.demo_models import DemoModels
from ml_service.settings import Settings
from platform_kit.plumbing.object_store import ObjectStore
from tests.ml_service.peer import Peer, running_peer
from tests.servers import servers_environment


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with servers_environment(tmp_path_factory.mktemp("servers")) as found:
        yield found


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running_peer() as peer:
        yield peer


@pytest.fixture
def settings(
    environment: dict[str, str], peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("API_INTERNAL_URL", peer.url)
    monkeypatch.setenv("ML_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WORKER_SCRATCH_DIR", str(tmp_path / "scratch"))
    return Settings.from_environment()


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    store = ObjectStore.from_settings(settings)
    store.prepare()
    return store


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="session")
def demos(demo_folder: Path) -> DemoModels:
    """Both demo models, trained for real."""
    return demo_models.prepare(demo_folder)
