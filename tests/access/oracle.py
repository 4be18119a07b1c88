"""What each answer should be, from the platform's promises: written by hand, ignorant of the code's own table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from platform_kit.contract.access import ProjectRole, Role, Scope


class Whose(StrEnum):
    """Whose the thing is that a request names, as the owner of the team's project sees it."""

    OWN = "own"
    MATE = "a mate's"
    FOREIGN = "foreign"
    RANDOM = "random"


class Reach(StrEnum):
    """By what a thing is somebody's."""

    PROJECT = "project"
    PERSON = "person"
    PERSON_OR_ADMIN = "person or admin"
    ADMINISTERED = "administered"
    """In a project, and an administrator's to change: whoever sees it is told so, and nobody else."""
    EVERYTHING = "everything"
    """The right itself is enough; what does not exist is still not found."""
    FILTER = "filter"
    """It narrows a list: foreign and unknown are an empty one."""
    PERSON_FILTER = "person filter"
    """It chooses whose list: one's own, or for an administrator anybody's."""


@dataclass(frozen=True)
class Need:
    """What a request needs, all of it.

    scopes: one of them, of a key; none: no key will do. unbound: a key that is bound to a project will not do.
    member: an administrator is as good as a member for all but leaving. refuses_bad: it asks nobody to sign in, but a
    credential that is sent must hold. internal: of our own processes only.
    """

    signed_in: bool = True
    role: Role = Role.USER
    project: ProjectRole | None = None
    scopes: frozenset[Scope] = frozenset()
    reach: Reach = Reach.PROJECT
    unbound: bool = False
    member: bool = False
    refuses_bad: bool = False
    internal: bool = False
    hidden: int = 404


@dataclass(frozen=True)
class Actor:
    """Somebody with one credential. places: project to role in it."""

    name: str
    account: str | None = None
    role: Role = Role.USER
    places: dict[str, ProjectRole] = field(default_factory=dict)
    holds: bool = True
    scopes: frozenset[Scope] | None = None
    bound_to: str | None = None
    endpoint: bool = False

    @property
    def sees_all(self) -> bool:
        return self.role is Role.ADMIN and self.bound_to is None

    def role_in(self, place: str) -> ProjectRole | None:
        """What they are there; an administrator is as good as an owner everywhere."""
        if self.bound_to not in (None, place):
            return None
        return ProjectRole.OWNER if self.role is Role.ADMIN else self.places.get(place)


@dataclass(frozen=True)
class Thing:
    """What a request names: `ref` stands in the request. place: its project; account: whose it is."""

    ref: str
    whose: Whose
    place: str
    account: str


OPEN = Need(signed_in=False)
OPEN_OR_HELD = Need(signed_in=False, refuses_bad=True)
INTERNAL = Need(internal=True)


def expected(need: Need, actor: Actor, thing: Thing | None, *, inside: Thing | None = None) -> int:
    """The status of a refusal, or 200 for any answer that is none.

    inside: what the path names, where `thing` is named by the query or the body: it is looked at first.
    """
    for judge in (_credential, _rights):
        status = judge(need, actor)
        if status != 200:
            return status
    if not need.signed_in:
        return 200
    status = 200 if inside is None else _in_project(need, actor, inside)
    if thing is None or status != 200:
        return status
    return _JUDGES[need.reach](need, actor, thing)


def _credential(need: Need, actor: Actor) -> int:
    if need.internal:
        return 401
    if need.signed_in:
        return 200 if actor.holds and actor.account else 401
    return 401 if need.refuses_bad and actor.account and not actor.holds else 200


def _rights(need: Need, actor: Actor) -> int:
    """Of the caller, before anything is looked up."""
    if not need.signed_in:
        return 200
    if actor.scopes is not None:
        if not need.scopes & actor.scopes:
            return 403
        if need.unbound and actor.bound_to:
            return 403
    return 200 if actor.role.covers(need.role) else 403


def _in_project(need: Need, actor: Actor, thing: Thing) -> int:
    role = actor.places.get(thing.place) if need.member else actor.role_in(thing.place)
    if thing.whose is Whose.RANDOM or role is None:
        return need.hidden
    if actor.endpoint and thing.whose is not Whose.OWN:
        return need.hidden
    return 200 if need.project is None or role.covers(need.project) else 403


def _administered(need: Need, actor: Actor, thing: Thing) -> int:
    status = _in_project(need, actor, thing)
    return 403 if status == 200 and actor.role is not Role.ADMIN else status


def _of_person(need: Need, actor: Actor, thing: Thing) -> int:
    if thing.whose is Whose.RANDOM or thing.account != actor.account:
        return need.hidden
    return 200 if actor.bound_to in (None, thing.place) else need.hidden


def _of_person_or_admin(need: Need, actor: Actor, thing: Thing) -> int:
    if actor.role is not Role.ADMIN or thing.whose is Whose.RANDOM:
        return _of_person(need, actor, thing)
    return 200 if actor.bound_to in (None, thing.place) else need.hidden


def _of_anybody(need: Need, actor: Actor, thing: Thing) -> int:
    return need.hidden if thing.whose is Whose.RANDOM else 200


def _list_of_person(need: Need, actor: Actor, thing: Thing) -> int:
    is_own = thing.account == actor.account and thing.whose is not Whose.RANDOM
    return 200 if is_own or actor.role is Role.ADMIN else need.hidden


_JUDGES: dict[Reach, Callable[[Need, Actor, Thing], int]] = {
    Reach.PROJECT: _in_project,
    Reach.ADMINISTERED: _administered,
    Reach.PERSON: _of_person,
    Reach.PERSON_OR_ADMIN: _of_person_or_admin,
    Reach.EVERYTHING: _of_anybody,
    Reach.FILTER: lambda *_: 200,
    Reach.PERSON_FILTER: _list_of_person,
}
