"""How other rooms' repositories keep to what a caller may see: in SQL, before a row is read."""

from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, select, true
from sqlalchemy.orm import InstrumentedAttribute

from api_server.auth.actor import Actor
from api_server.projects.models import ProjectMember


def visible_to(
    actor: Actor, project_id: InstrumentedAttribute[UUID] | InstrumentedAttribute[UUID | None]
) -> ColumnElement[bool]:
    """The condition that a row's project is one of the actor's; an API key may be bound to a single one."""
    conditions: list[ColumnElement[bool]] = [true()]
    if actor.bound_to is not None:
        conditions.append(project_id == actor.bound_to)
    if not actor.is_admin:
        conditions.append(project_id.in_(_projects_of(actor)))
    return and_(*conditions)


def _projects_of(actor: Actor) -> Select[UUID]:
    return select(ProjectMember.project_id).where(ProjectMember.user_id == actor.user_id)
