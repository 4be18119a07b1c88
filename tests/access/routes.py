"""Every route of both services, as the applications themselves answer them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from api_server.auth.dependencies import Allowed, Open
from api_server.auth.permissions import Action


@dataclass(frozen=True)
class Route:
    """`name` is how the tables of this folder call it: `GET /api/v1/datasets/{dataset_id}`."""

    method: str
    path: str
    guards: tuple[Allowed | Open, ...]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def actions(self) -> list[Action]:
        return [each.action for each in self.guards]


def routes_of(app: FastAPI) -> list[Route]:
    """Also those that are in no OpenAPI document. A mount of files counts as one GET."""
    found = [
        Route(method, str(context.path), tuple(guards_in(getattr(context, "dependant", None))))
        for context in iter_route_contexts(app.routes)
        for method in sorted((context.methods or {"GET"}) - {"HEAD"})
    ]
    return list({each.name: each for each in found}.values())


def guards_in(dependant: Any) -> Iterator[Allowed | Open]:
    """What the route declares, or anything that it depends on."""
    if dependant is None:
        return
    for each in dependant.dependencies:
        if isinstance(each.call, Allowed | Open):
            yield each.call
        yield from guards_in(each)
