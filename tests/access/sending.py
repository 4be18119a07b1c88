"""From a line of the table and a caller to an HTTP request."""

import itertools
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.access.asks import Ask
from tests.access.oracle import Actor, Thing, Whose
from tests.access.things import find, fresh
from tests.access.world import World

DATA = b"age,city,target\n31,lyon,yes\n25,paris,no\n47,lyon,yes\n"

_numbers = itertools.count(1)


@dataclass
class Cell:
    """One request: who, about what, what should come, and what came."""

    actor: Actor
    whose: Whose | None
    wanted: int
    request_id: str = ""
    thing: Thing | None = None
    answer: httpx2.Response | None = None

    def __str__(self) -> str:
        about = f" {self.whose} thing" if self.whose else ""
        return f"{self.actor.name},{about}"


async def request_for(world: World, ask: Ask, cell: Cell) -> httpx2.Request:
    """What the caller of the cell would send; its id is the cell's from now on."""
    words = await _words(world, ask, cell)
    cell.request_id = f"cell-{next(_numbers)}"
    file = DATA + f"{next(_numbers)},rome,no\n".encode()
    return httpx2.Request(
        ask.method,
        (world.services.ml_url if ask.service == "ml" else world.services.api_url) + _path(ask, words),
        headers={**world.headers[cell.actor.name], "X-Request-ID": cell.request_id},
        params=_filled(ask.params, words),
        json=_filled(ask.json, words),
        data=_filled(ask.form, words),
        files={"file": (f"data{next(_numbers)}.csv", file)} if ask.file else None,
    )


def inside_of(world: World, ask: Ask, actor: Actor, whose: Whose | None) -> Thing | None:
    """What is in the path: the team's. Who sees everything has a foreign thing beside a foreign one: nothing mixes."""
    if ask.inside is None:
        return None
    place = Whose.FOREIGN if actor.sees_all and whose is Whose.FOREIGN else Whose.OWN
    return find(world, ask.inside, place, actor)


async def _words(world: World, ask: Ask, cell: Cell) -> dict[str, str]:
    words = {kind: ref for (kind, whose), ref in world.things.items() if whose is Whose.OWN}
    member = "foreignmate" if cell.whose is Whose.FOREIGN else "viewer"
    words |= {"member": str(world.user_ids[member]), "new": f"new{next(_numbers)}"}
    words["throwaway"] = str(world.user_ids["throwaway"])
    words["thing"] = cell.thing.ref if cell.thing else ""
    inside = inside_of(world, ask, cell.actor, cell.whose)
    if inside is not None and ask.inside == "idle_model" and cell.wanted == 200:
        # It is used up: one training at a time.
        inside = await fresh(world, "idle_model", inside.whose, cell.actor)
    return words if inside is None else {**words, ask.inside or "": inside.ref}


def _path(ask: Ask, words: dict[str, str]) -> str:
    path = ask.route.partition(" ")[2]
    for name in [each.partition("}")[0] for each in path.split("{")[1:]]:
        value = ask.path.get(name) or ("1" if name == "version" else f"{{{ask.inside or 'thing'}}}")
        path = path.replace(f"{{{name}}}", _filled(value, words))
    return path


def _filled(template: Any, words: dict[str, str]) -> Any:
    """The template with its `{words}` replaced, however deep."""
    if isinstance(template, dict):
        return {name: _filled(each, words) for name, each in template.items()}
    if isinstance(template, list):
        return [_filled(each, words) for each in template]
    if isinstance(template, str):
        for name, word in words.items():
            template = template.replace(f"{{{name}}}", word)
    return template
