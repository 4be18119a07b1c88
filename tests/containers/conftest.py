"""`make test-compose`: real containers, started as a person would start them. Not part of `make test`."""

from collections.abc import Iterator

import pytest

from tests.containers.platform import Platform
from tests.verify.calling import Caller
from tests.verify.scene import Scene


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Core and monitoring, up and healthy; the end of every log is shown if it does not come up."""
    platform = Platform(tmp_path_factory.mktemp("platform"))
    platform.write_environment()
    started = platform.make("up")
    try:
        assert started.returncode == 0, started.stdout
        platform.started_with = started.stdout
        yield platform
    finally:
        platform.make("clean")


@pytest.fixture(scope="session")
def scene(platform: Platform) -> Iterator[Scene]:
    """Callers that go through nginx, and try again for as long as an outage may last."""
    with Scene(platform.api_url, platform.ml_url, platform.directory, patience_seconds=60) as scene:
        yield scene


@pytest.fixture(scope="session")
def maker(scene: Scene) -> Caller:
    return scene.maker


@pytest.fixture
def impatient(platform: Platform) -> Iterator[Caller]:
    """A caller who takes the first answer."""
    caller = Caller(platform.api_url, platform.ml_url)
    with caller.http:
        yield caller
