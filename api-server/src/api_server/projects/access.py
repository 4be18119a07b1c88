"""How other rooms' repositories keep to what a caller may see: in SQL, before a row is read."""

from uuid import UUID

from sqlalchemy import Select, select

from api_server.auth.actor import Actor
from api_server.projects.models import ProjectMember


def member_of(actor: Actor) -> Select[UUID]:
    """The ids of the actor's projects, for `Row.project_id.in_(member_of(actor))`. Administrators see all rows."""
    return select(ProjectMember.project_id).where(ProjectMember.user_id == actor.user_id)
