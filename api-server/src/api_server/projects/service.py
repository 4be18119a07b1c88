from uuid import UUID, uuid4

from api_server.auth.actor import Actor
from api_server.database import AsyncSession, IntegrityError
from api_server.pagination import PageParams, Rows
from api_server.preconditions import require_match
from api_server.projects import repository
from api_server.projects.errors import ProjectInUse, ProjectNameTaken, ProjectNotFound, ProjectRoleMissing
from api_server.projects.models import Project, ProjectMember, ProjectRole
from api_server.projects.schemas import ProjectFilter, ProjectIn, ProjectPatch

PERSONAL = "personal"

Known = tuple[Project, ProjectRole | None]


async def create(session: AsyncSession, actor: Actor, body: ProjectIn) -> Known:
    project = Project(id=uuid4(), owner_id=actor.user_id, **body.model_dump())
    try:
        async with session.begin_nested():
            session.add(project)
            await session.flush()
    except IntegrityError:
        raise _taken(body.name) from None
    await _join(session, project, actor.user_id, ProjectRole.OWNER)
    return project, ProjectRole.OWNER


async def personal(session: AsyncSession, actor: Actor) -> Project:
    """The project for what the actor puts nowhere else; made when it is first needed."""
    found = await repository.find_personal(session, actor.user_id)
    if found is not None:
        return found
    project = Project(id=uuid4(), owner_id=actor.user_id, name=PERSONAL, is_personal=True)
    try:
        async with session.begin_nested():
            session.add(project)
            await session.flush()
            await _join(session, project, actor.user_id, ProjectRole.OWNER)
    except IntegrityError:
        found = await repository.find_personal(session, actor.user_id)
        if found is None:
            raise _taken(PERSONAL) from None
        return found
    return project


async def require(session: AsyncSession, actor: Actor, project_id: UUID, *, need: ProjectRole) -> Project:
    """The project, if the actor has `need` there. Raises ProjectNotFound (unknown or foreign) or ProjectRoleMissing."""
    project = await repository.find_visible(session, actor, project_id)
    if project is None:
        raise ProjectNotFound
    role = await role_in(session, actor, project_id)
    if not actor.is_admin and (role is None or not role.covers(need)):
        raise ProjectRoleMissing(f"In this project you are {role}; this needs {need}.")
    return project


async def role_in(session: AsyncSession, actor: Actor, project_id: UUID) -> ProjectRole | None:
    return (await repository.roles(session, actor.user_id, [project_id])).get(project_id)


async def memberships(session: AsyncSession, user_id: UUID) -> list[UUID]:
    """Where a user may read and predict."""
    return await repository.project_ids(session, user_id)


async def get(session: AsyncSession, actor: Actor, project_id: UUID) -> Known:
    project = await require(session, actor, project_id, need=ProjectRole.VIEWER)
    return project, await role_in(session, actor, project_id)


async def list_projects(
    session: AsyncSession, actor: Actor, filters: ProjectFilter, params: PageParams
) -> Rows[Known]:
    rows = await repository.list_visible(session, actor, filters, params)
    roles = await repository.roles(session, actor.user_id, [each.id for each in rows.items])
    items = [(each, roles.get(each.id)) for each in rows.items]
    return Rows(items=items, next_cursor=rows.next_cursor, total=rows.total)


async def change(
    session: AsyncSession, actor: Actor, project_id: UUID, patch: ProjectPatch, if_match: str | None
) -> Known:
    project = await require(session, actor, project_id, need=ProjectRole.EDITOR)
    require_match(if_match, project.revision)
    for name, value in patch.model_dump(exclude_none=True).items():
        setattr(project, name, value)
    try:
        async with session.begin_nested():
            await session.flush()
    except IntegrityError:
        raise _taken(patch.name or "") from None
    return project, await role_in(session, actor, project_id)


async def delete(session: AsyncSession, actor: Actor, project_id: UUID, if_match: str | None) -> None:
    project = await require(session, actor, project_id, need=ProjectRole.OWNER)
    require_match(if_match, project.revision)
    try:
        async with session.begin_nested():
            await session.delete(project)
            await session.flush()
    except IntegrityError as error:
        what = "models" if "models" in str(error.orig) else "datasets"
        raise ProjectInUse(f"The project still has {what}; delete them first.") from None


async def _join(session: AsyncSession, project: Project, user_id: UUID, role: ProjectRole) -> None:
    session.add(ProjectMember(project_id=project.id, user_id=user_id, role=role))
    await session.flush()


def _taken(name: str) -> ProjectNameTaken:
    return ProjectNameTaken(f"You have a project named {name!r} already; choose another name.")
