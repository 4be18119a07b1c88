from collections.abc import Iterator

import pytest

from tests.end_to_end.stack import Stack
from tests.verify.calling import Caller
from tests.verify.scene import Scene


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole platform, once for all tests of a session; whatever they did to it, no request may end in a 500."""
    stack = Stack(tmp_path_factory.mktemp("platform") / "data")
    stack.start()
    yield stack
    stack.stop()
    assert not stack.faults()


@pytest.fixture(scope="session")
def scene(stack: Stack) -> Iterator[Scene]:
    with Scene(api_url=stack.api_url, ml_url=stack.ml_url, data_dir=stack.data_dir) as scene:
        yield scene


@pytest.fixture(scope="session")
def maker(scene: Scene) -> Caller:
    return scene.maker
