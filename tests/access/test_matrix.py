"""Every route of both services x everybody x one's own, a mate's, foreign and unknown things."""

import pytest
from sqlalchemy import true

from api_server.auth.permissions import RULES, Action, Rule
from api_server.datasets import repository as datasets
from platform_kit.contract.access import Principal, ProjectRole, Role, Scope
from tests.access.asks import Ask
from tests.access.matrix import Judge
from tests.access.routes import routes_of
from tests.access.services import Services
from tests.access.table import ASKS
from tests.access.world import World

pytestmark = pytest.mark.timeout(180)


class TestTheTable:
    def test_has_every_route_and_no_other(self, services: Services) -> None:
        apps = {"api": services.api, "ml": services.ml}
        real = {(service, each.name) for service, app in apps.items() for each in routes_of(app)}
        known = {(each.service, each.route) for each in ASKS}

        assert {"unclassified": real - known, "gone": known - real} == {"unclassified": set(), "gone": set()}

    def test_is_about_routes_that_say_once_what_they_are(self, services: Services) -> None:
        public = [each for each in routes_of(services.api) if each.path.startswith("/api/")]

        assert public
        assert [each.name for each in public if len(each.actions) != 1] == []


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.id)
async def test_everybody_gets_what_is_theirs_and_nothing_else(world: World, ask: Ask) -> None:
    breaches = await Judge(world, ask).run()

    assert not breaches, "\n".join(["", *breaches])


class TestABrokenRule:
    """The matrix must be able to fail: each of these makes a hole in what is enforced, and asks it again."""

    async def test_shows_when_a_route_asks_for_less(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (guard,) = next(
            each.guards for each in routes_of(world.services.api) if each.name == "GET /api/v1/users"
        )
        monkeypatch.setattr(guard, "action", Action.ACCOUNT_READ)

        breaches = await Judge(world, ask_of("GET /api/v1/users")).run()

        assert any(each.startswith("viewer, should get 403, got 200") for each in breaches)

    async def test_shows_when_a_rule_is_weaker(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        weaker = Rule("rename and describe datasets", Role.USER, ProjectRole.VIEWER, Scope.READ)
        monkeypatch.setitem(RULES, Action.DATASET_CHANGE, weaker)

        breaches = await Judge(world, ask_of("PATCH /api/v1/datasets/{dataset_id}")).run()

        assert any(each.startswith("viewer, own thing should get 403, got 200") for each in breaches)
        assert any(each.startswith("key to read, own thing should get 403, got 200") for each in breaches)
        assert "refused requests changed datasets" in breaches

    async def test_shows_when_rows_are_not_kept_apart(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(datasets, "visible_to", lambda *_: true())

        breaches = await Judge(world, ask_of("GET /api/v1/datasets")).run()

        assert any("owner, was told" in each and "of the foreign project" in each for each in breaches)
        assert any("are theirs to see" in each for each in breaches)

    async def test_shows_when_ml_service_looks_away(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Principal, "may_see", lambda *_: True)

        breaches = await Judge(world, ask_of("POST /predict/{model}")).run()

        assert any(each.startswith("owner, foreign thing should get 404, got 200") for each in breaches)


def ask_of(route: str) -> Ask:
    return next(each for each in ASKS if each.route == route)
