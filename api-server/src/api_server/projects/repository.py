from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.auth.actor import Actor
from api_server.pagination import PageParams, Rows, fetch_page
from api_server.projects.access import member_of
from api_server.projects.models import Project, ProjectMember, ProjectRole
from api_server.projects.schemas import ProjectFilter


async def find_visible(session: AsyncSession, actor: Actor, project_id: UUID) -> Project | None:
    statement = select(Project).where(Project.id == project_id)
    if not actor.is_admin:
        statement = statement.where(Project.id.in_(member_of(actor)))
    return await session.scalar(statement)


async def find_personal(session: AsyncSession, owner_id: UUID) -> Project | None:
    return await session.scalar(select(Project).where(Project.owner_id == owner_id, Project.is_personal))


async def roles(session: AsyncSession, user_id: UUID, project_ids: Sequence[UUID]) -> dict[UUID, ProjectRole]:
    found = await session.scalars(
        select(ProjectMember).where(
            ProjectMember.user_id == user_id, ProjectMember.project_id.in_(project_ids)
        )
    )
    return {each.project_id: ProjectRole(each.role) for each in found}


async def project_ids(session: AsyncSession, user_id: UUID) -> list[UUID]:
    found = await session.scalars(select(ProjectMember.project_id).where(ProjectMember.user_id == user_id))
    return list(found)


async def list_visible(
    session: AsyncSession, actor: Actor, filters: ProjectFilter, params: PageParams
) -> Rows[Project]:
    statement = select(Project)
    if not actor.is_admin:
        statement = statement.where(Project.id.in_(member_of(actor)))
    if filters.status is not None:
        statement = statement.where(Project.status == filters.status)
    if filters.tag is not None:
        statement = statement.where(Project.tags.contains([filters.tag]))
    if filters.text is not None:
        text = func.lower(filters.text)
        statement = statement.where(
            or_(
                func.strpos(func.lower(Project.name), text) > 0,
                func.strpos(func.lower(Project.description), text) > 0,
            )
        )
    sortable = {"created_at": Project.created_at, "name": Project.name}
    return await fetch_page(session, statement, params, sortable=sortable, id_column=Project.id)
