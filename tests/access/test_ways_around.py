"""What a table of routes does not show: ways to a foreign thing that lead past the route that guards it."""

import pytest

from platform_kit.contract.problem import IssueCode
from tests.access.oracle import Whose
from tests.access.test_mass_assignment import FIELDS
from tests.access.world import World
from tests.api_server.factories import CSV, PREFIX

BOUND_ELSEWHERE = "key bound to another project"


class TestAnIdempotencyKey:
    async def test_of_its_owner_tells_a_bound_key_nothing_of_another_project(self, world: World) -> None:
        url = f"{world.services.api_url}{PREFIX}/models"
        model = {"name": world.name("owner"), "model_type": "classification", "framework": "lightgbm"}
        body = {**model, "project_id": world.things["project", Whose.OWN]}
        made = await world.http.post(url, json=body, headers=sent_by(world, "owner"))
        again = await world.http.post(url, json=body, headers=sent_by(world, "owner"))

        stolen = await world.http.post(url, json=body, headers=sent_by(world, BOUND_ELSEWHERE))

        assert (made.status_code, again.json()["id"]) == (201, made.json()["id"])
        assert (stolen.status_code, stolen.json()["code"]) == (422, "idempotency_key_reused")


class TestAForm:
    @pytest.mark.parametrize("name", [each for each in FIELDS if each != "project_id"])
    async def test_holds_nothing_that_is_not_the_callers_to_choose(self, world: World, name: str) -> None:
        answer = await world.http.post(
            f"{world.services.api_url}{PREFIX}/datasets",
            data={"name": "people", name: str(FIELDS[name])},
            files={"file": ("people.csv", CSV)},
            headers=world.headers["owner"],
        )

        errors = answer.json()["errors"]
        assert (answer.status_code, errors[0]["field"], errors[0]["code"]) == (
            422,
            name,
            IssueCode.UNKNOWN_FIELD,
        )


def sent_by(world: World, actor: str) -> dict[str, str]:
    return {**world.headers[actor], "Idempotency-Key": "the same one"}
