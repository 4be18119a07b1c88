"""What the tests of accounts change in the running service, and who looks on.

set_up             changes settings for one test
set_up_throttle    gives it a throttle of its own for one test, with changed settings
admin              an administrator
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from api_server.auth.throttle import LoginThrottle
from api_server.settings import Settings
from platform_kit.contract.access import Role
from platform_kit.plumbing.rate_counters import ProcessCounters
from tests.api_server.conftest import SignIn
from tests.api_server.factories import SignedIn

SetUp = Callable[..., None]


@pytest.fixture
def set_up(running: tuple[Any, dict[str, Any]], settings: Settings) -> Iterator[SetUp]:
    """Changes settings of the running service for one test."""
    app = running[0]

    def set_up(**changed: Any) -> None:
        app._state["settings"] = settings.model_copy(update=changed)

    yield set_up
    app._state["settings"] = settings


@pytest.fixture
def set_up_throttle(running: tuple[Any, dict[str, Any]], settings: Settings) -> Iterator[SetUp]:
    state = running[0]._state
    before = state["throttle"]

    def set_up(**changed: Any) -> None:
        changed_settings = settings.model_copy(update=changed)
        state["throttle"] = LoginThrottle.from_settings(changed_settings, ProcessCounters())

    yield set_up
    state["throttle"] = before


@pytest.fixture
async def admin(sign_in: SignIn) -> SignedIn:
    return await sign_in(Role.ADMIN)
