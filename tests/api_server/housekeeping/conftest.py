"""A place to do chores in; the storage holds nothing that earlier tests have left."""

import pytest

from api_server.database import Sessions
from api_server.housekeeping.chores import Place
from api_server.settings import Settings
from platform_kit.contract.access import Role
from platform_kit.plumbing.object_store import ObjectStore
from tests.api_server.conftest import SignIn
from tests.api_server.factories import SignedIn


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    store = ObjectStore.from_settings(settings)
    left = list(store.list_keys(""))
    if left:
        store.delete(left)
    return store


@pytest.fixture
def place(sessions: Sessions, store: ObjectStore, settings: Settings) -> Place:
    return Place(sessions, store, settings)


@pytest.fixture
async def admin(sign_in: SignIn) -> SignedIn:
    return await sign_in(Role.ADMIN)
