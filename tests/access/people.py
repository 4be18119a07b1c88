"""Who might ask for what is in a project, where they are, and with which credential."""

from typing import Any

from platform_kit.contract.access import ProjectRole, Role, Scope
from tests.access.oracle import Actor, Whose

CANARY = "xqcanary7f3a"
"""In the name of everything that is in the foreign project."""
TEAM, SIDE, FOREIGN, ELSEWHERE = "team", "side", "foreign", "elsewhere"
ALL = frozenset(Scope)
VIEWER, EDITOR, OWNER = ProjectRole.VIEWER, ProjectRole.EDITOR, ProjectRole.OWNER
_MAKER = Role.DATA_SCIENTIST

ACCOUNTS: dict[str, tuple[Role, dict[str, ProjectRole]]] = {
    "owner": (_MAKER, {TEAM: OWNER, SIDE: OWNER}),
    "editor": (_MAKER, {TEAM: EDITOR}),
    "viewer": (_MAKER, {TEAM: VIEWER}),
    "userviewer": (Role.USER, {TEAM: VIEWER}),
    "usereditor": (Role.USER, {TEAM: EDITOR}),
    "disabled": (_MAKER, {TEAM: EDITOR}),
    "outsider": (_MAKER, {ELSEWHERE: OWNER}),
    "admin": (Role.ADMIN, {}),
    "foreigner": (_MAKER, {FOREIGN: OWNER}),
    "foreignmate": (_MAKER, {FOREIGN: VIEWER}),
    "throwaway": (_MAKER, {}),
}
MAKERS = {Whose.OWN: "owner", Whose.MATE: "editor", Whose.FOREIGN: "foreigner"}
PLACES = {TEAM: "owner", SIDE: "owner", ELSEWHERE: "outsider", FOREIGN: "foreigner"}


def _person(name: str, account: str, **limits: Any) -> Actor:
    role, places = ACCOUNTS[account]
    return Actor(name, account, role, places, **limits)


ACTORS: tuple[Actor, ...] = (
    Actor("anonymous", holds=False),
    _person("disabled account", "disabled", holds=False),
    _person("viewer", "viewer"),
    _person("editor", "editor"),
    _person("owner", "owner"),
    _person("member of another project", "outsider"),
    _person("user as viewer", "userviewer"),
    _person("user as editor", "usereditor"),
    _person("admin", "admin"),
    *(_person(f"key to {each}", "owner", scopes=frozenset({each})) for each in Scope),
    _person("key bound to another project", "owner", scopes=ALL, bound_to=SIDE),
    _person(
        "key bound to an endpoint", "owner", scopes=frozenset({Scope.PREDICT}), bound_to=TEAM, endpoint=True
    ),
    _person("expired key", "owner", scopes=ALL, holds=False),
    _person("revoked key", "owner", scopes=ALL, holds=False),
    _person("key of a disabled account", "disabled", scopes=ALL, holds=False),
    _person("admin's key bound to the project", "admin", scopes=ALL, bound_to=TEAM),
    _person("admin's key to audit", "admin", scopes=frozenset({Scope.AUDIT})),
)
