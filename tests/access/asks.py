"""How a line of the table says what is asked, by whom it may be, and what is used up by it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.access.oracle import Need

ROW = {"feature1": 0.5, "feature2": 1, "feature3": -0.3, "feature4": 2.0}
SUCCESS = (200, 201, 202, 204)


@dataclass(frozen=True)
class Ask:
    """One way to ask a route.

    kind: of the thing that it names; path: what stands in the path, else the thing and `1` for a version.
    inside: kind of the thing in the path, the team's own, where `kind` is in the query or body.
    fresh: an allowed request gets a thing of its own, because it uses it up. ends_account: it ends the caller's own
    session or account, which is then opened again. regroups: it changes who is where, which is then put back.
    answers: what an allowed request may get besides success. rows: the SQL that counts what a list may hold.
    audited: whether success is written down, when it writes. tells_all: its readers are the operators.
    """

    route: str
    need: Need
    kind: str | None = None
    path: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] | None = None
    json: Any = None
    form: Mapping[str, str] | None = None
    file: bool = False
    fresh: bool = False
    inside: str | None = None
    ends_account: bool = False
    regroups: bool = False
    answers: tuple[int, ...] = ()
    rows: str | None = None
    audited: bool = True
    tells_all: bool = False
    service: str = "api"

    @property
    def method(self) -> str:
        return self.route.partition(" ")[0]

    @property
    def is_read(self) -> bool:
        return self.method == "GET"

    @property
    def asks_ml(self) -> bool:
        """Whether ml-service decides, which tells of its refusals a moment later."""
        return self.service == "ml" or self.route == "POST /api/v1/predictions"

    @property
    def id(self) -> str:
        """In the name of a test: `POST /models {dataset}`."""
        named = [
            *(self.params or {}),
            *(self.form or {}),
            *(self.json if isinstance(self.json, dict) else {}),
        ]
        where = f" by {self.kind}" if self.kind and (named or self.inside) else ""
        where += f" in {self.inside}" if self.inside else ""
        return f"{self.service} {self.route.replace('/api/v1', '')}{where}"


def api(route: str, need: Need, kind: str | None = None, **how: Any) -> Ask:
    method, path = route.split(" ")
    return Ask(f"{method} /api/v1{path}", need, kind, **how)


def ml(route: str, need: Need, kind: str | None = None, **how: Any) -> Ask:
    return Ask(route, need, kind, service="ml", audited=False, **how)
