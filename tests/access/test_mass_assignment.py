"""Fields that a caller must not choose: every body that takes JSON names them as unknown, and changes nothing."""

import json
from typing import Any

import httpx2
import pytest

from platform_kit.contract.problem import IssueCode
from tests.access import traces
from tests.access.asks import Ask
from tests.access.oracle import Whose, expected
from tests.access.people import ACTORS
from tests.access.sending import Cell, inside_of, request_for
from tests.access.services import Services
from tests.access.table import ASKS
from tests.access.things import find
from tests.access.world import World

ID = "00000000-0000-4000-8000-000000000001"
FIELDS: dict[str, Any] = {
    "id": ID,
    "owner_id": ID,
    "user_id": ID,
    "project_id": ID,
    "role": "admin",
    "is_admin": True,
    "is_active": True,
    "status": "active",
    "version": 7,
    "storage_key": "datasets/x",
    "sha256": "0" * 64,
    "created_at": "2020-01-01T00:00:00Z",
}


def one_of_each_route(*, internal: bool) -> list[Ask]:
    bodies = [
        each for each in ASKS if each.json is not None and not each.is_read and each.need.internal is internal
    ]
    return list({(each.service, each.route): each for each in bodies}.values())


@pytest.mark.parametrize("ask", one_of_each_route(internal=False), ids=lambda ask: ask.id)
async def test_a_body_holds_nothing_that_is_not_the_callers_to_choose(world: World, ask: Ask) -> None:
    undocumented = [name for name in FIELDS if name not in documented(world.services, ask)]
    requests = {name: await with_field(world, ask, name) for name in undocumented}
    before = await traces.everything(world.sessions)

    named = {name: unknown_fields(await world.http.send(each)) for name, each in requests.items()}

    assert named == {name: (422, [name]) for name in undocumented}
    assert traces.changed(before, await traces.everything(world.sessions)) == []


@pytest.mark.parametrize("ask", one_of_each_route(internal=True), ids=lambda ask: ask.id)
async def test_neither_does_a_body_of_our_own_processes(world: World, ask: Ask) -> None:
    cell = Cell(ACTORS[0], None, 401)
    token = world.services.settings.internal_token.get_secret_value()
    url = (await request_for(world, ask, cell)).url

    answer = await world.http.post(url, json={"is_admin": True}, headers={"X-Internal-Token": token})

    assert unknown_fields(answer) == (422, ["is_admin"])


async def with_field(world: World, ask: Ask, name: str) -> httpx2.Request:
    """What somebody sends who may send it, and one field more."""
    request = await request_for(world, ask, somebody_allowed(world, ask))
    body = {**json.loads(request.read()), name: FIELDS[name]}
    kept = {each: request.headers[each] for each in ("Authorization", "X-API-Key") if each in request.headers}
    return httpx2.Request(request.method, request.url, json=body, headers=kept)


def somebody_allowed(world: World, ask: Ask) -> Cell:
    for actor in ACTORS:
        thing = find(world, ask.kind, Whose.OWN, actor) if ask.kind else None
        inside = inside_of(world, ask, actor, Whose.OWN)
        if actor.holds and expected(ask.need, actor, thing, inside=inside) == 200:
            # Nothing is to be made for it: the request will be refused.
            return Cell(actor, Whose.OWN, 422, thing=thing)
    raise AssertionError(f"nobody may ask {ask.id}")


def unknown_fields(answer: httpx2.Response) -> tuple[int, list[str]]:
    errors = answer.json().get("errors", [])
    return answer.status_code, [each["field"] for each in errors if each["code"] == IssueCode.UNKNOWN_FIELD]


def documented(services: Services, ask: Ask) -> set[str]:
    """The fields that the OpenAPI document says the body has."""
    app = services.ml if ask.service == "ml" else services.api
    document = app.openapi()
    operation = document["paths"][ask.route.partition(" ")[2]][ask.method.lower()]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    shapes = [schema, *schema.get("anyOf", [])]
    found = [
        document["components"]["schemas"][each["$ref"].rpartition("/")[2]]
        for each in shapes
        if "$ref" in each
    ]
    return {name for each in [*shapes, *found] for name in each.get("properties", {})}
