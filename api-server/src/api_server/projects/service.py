from typing import Any
from uuid import UUID, uuid4

from api_server import notices
from api_server.audit_trail import PLATFORM, REFUSED, AuditEntry, Deed, Who, record
from api_server.auth.actor import Actor
from api_server.auth.permissions import RULES, Action, authorize, authorize_in_project
from api_server.database import AsyncSession, IntegrityError
from api_server.pagination import PageParams, Rows
from api_server.preconditions import require_match
from api_server.projects import repository
from api_server.projects.config import ProjectConfig, TrainingDefaults
from api_server.projects.errors import (
    ConfigInvalid,
    ProjectInUse,
    ProjectNameTaken,
    ProjectNotActive,
    ProjectNotFound,
)
from api_server.projects.models import Project, ProjectMember, ProjectStatus
from api_server.projects.repository import Contents
from api_server.projects.schemas import ProjectFilter, ProjectIn, ProjectPatch
from api_server.refusal_book import RefusalBook
from platform_kit.contract.access import Notice, NoticeKind, ProjectRole, Refusals

PERSONAL = "personal"

Known = tuple[Project, ProjectRole | None]


async def create(session: AsyncSession, actor: Actor, body: ProjectIn) -> Known:
    _require_valid(body.config)
    project = Project(
        id=uuid4(),
        owner_id=actor.user_id,
        name=body.name,
        description=body.description,
        tags=body.tags,
        config=body.config.as_stored(),
    )
    try:
        async with session.begin_nested():
            session.add(project)
            await session.flush()
    except IntegrityError:
        raise name_taken(body.name) from None
    await _join(session, project, actor.user_id, ProjectRole.OWNER)
    record(session, actor.who, _deed(Action.PROJECT_CREATE, project))
    return project, ProjectRole.OWNER


async def personal(session: AsyncSession, actor: Actor, action: Action) -> Project:
    """The project for what the actor puts nowhere else, made when it is first needed; a bound key's own project."""
    if actor.bound_to is not None:
        return await require(session, actor, actor.bound_to, action)
    authorize(actor, action)
    found = await repository.find_personal(session, actor.user_id)
    if found is not None:
        return await require(session, actor, found.id, action)
    project = Project(id=uuid4(), owner_id=actor.user_id, name=PERSONAL, is_personal=True)
    try:
        async with session.begin_nested():
            session.add(project)
            await session.flush()
            await _join(session, project, actor.user_id, ProjectRole.OWNER)
    except IntegrityError:
        found = await repository.find_personal(session, actor.user_id)
        if found is None:
            raise name_taken(PERSONAL) from None
        return found
    # Nobody asked for it: what they did ask for is recorded by the room that it is in.
    record(session, PLATFORM, _deed(Action.PROJECT_CREATE, project, owner=actor.username))
    return project


async def require(session: AsyncSession, actor: Actor, project_id: UUID, action: Action) -> Project:
    """The project, if the actor may do this there.

    Raises ProjectNotFound (unknown or foreign), what `authorize_in_project` raises, or ProjectNotActive.
    """
    project = await repository.find_visible(session, actor, project_id)
    if project is None:
        raise ProjectNotFound
    await _require_role(session, actor, project, action)
    if RULES[action].needs_active and project.status != ProjectStatus.ACTIVE:
        raise ProjectNotActive(
            f"The project is {project.status}; PATCH /api/v1/projects/{project.id} with status active first."
        )
    return project


async def hold(
    session: AsyncSession, actor: Actor, project_id: UUID, action: Action, *, to_delete: bool = False
) -> Project:
    """The same, locked: changes of who may do what in a project, or of how much, happen one after the other."""
    await require(session, actor, project_id, action)
    project = await repository.lock(session, project_id, to_delete=to_delete)
    if project is None:
        raise ProjectNotFound
    await _require_role(session, actor, project, action)  # it may have changed while this waited
    return project


async def _require_role(session: AsyncSession, actor: Actor, project: Project, action: Action) -> None:
    role = await role_in(session, actor, project.id)
    if role is None and not actor.is_admin:
        raise ProjectNotFound
    authorize_in_project(actor, action, role)


async def role_in(session: AsyncSession, actor: Actor, project_id: UUID) -> ProjectRole | None:
    return (await repository.roles(session, actor.user_id, [project_id])).get(project_id)


async def reach(session: AsyncSession, actor: Actor) -> list[UUID]:
    """The projects where the actor may read and predict; for one who sees all, those that are named anyway."""
    if actor.bound_to is not None and actor.is_admin:
        return [actor.bound_to]
    joined = await repository.project_ids(session, actor.user_id)
    return [each for each in joined if actor.bound_to in (None, each)]


def note_refusals(session: AsyncSession, body: Refusals, book: RefusalBook) -> None:
    """Write down whom ml-service has refused, as far as the book admits it."""
    for each in body.refusals:
        who = Who(
            user_id=each.user_id,
            username=each.username,
            credential=each.credential,
            address=each.address,
            request_id=each.request_id,
        )
        deed = Deed(
            each.action,
            "model",
            each.object_id,
            outcome=REFUSED,
            status=each.status,
            code=each.code,
            service="ml-service",
            at=each.at,
        )
        if book.admits(who, deed):
            record(session, who, deed)


async def get(session: AsyncSession, actor: Actor, project_id: UUID) -> Known:
    project = await require(session, actor, project_id, Action.PROJECT_READ)
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
    project = await require(session, actor, project_id, Action.PROJECT_CHANGE)
    require_match(if_match, project.revision)
    _require_valid(patch.config)
    changes = patch.changes()
    for name, value in changes.items():
        setattr(project, name, value)
    try:
        async with session.begin_nested():
            await session.flush()
    except IntegrityError:
        raise name_taken(patch.name or "") from None
    if changes:
        status = {"status": project.status} if "status" in changes else {}
        record(session, actor.who, _deed(Action.PROJECT_CHANGE, project, changed=sorted(changes), **status))
    return project, await role_in(session, actor, project_id)


async def delete(session: AsyncSession, actor: Actor, project_id: UUID, if_match: str | None) -> None:
    """Delete a project that is empty; its members' membership and the API keys bound to it end with it."""
    project = await hold(session, actor, project_id, Action.PROJECT_DELETE, to_delete=True)
    require_match(if_match, project.revision)
    contents = await repository.contents(session, project.id)
    if contents.datasets or contents.models or contents.jobs_at_once:
        raise ProjectInUse(_in_use(contents))
    await session.delete(project)
    await session.flush()
    notices.tell(session, Notice(kind=NoticeKind.PROJECT, id=project.id))
    ended = {"members": contents.members, "api_keys": contents.api_keys}
    record(session, actor.who, _deed(Action.PROJECT_DELETE, project, **ended))


async def list_activity(
    session: AsyncSession, actor: Actor, project_id: UUID, action: str | None, params: PageParams
) -> Rows[AuditEntry]:
    """What was done in the project, by its members and by the platform."""
    await require(session, actor, project_id, Action.PROJECT_READ)
    return await repository.list_activity(session, project_id, action, params)


async def training_defaults(session: AsyncSession, project_id: UUID) -> TrainingDefaults:
    project = await repository.find(session, project_id)
    stored = ProjectConfig.of(project.config) if project is not None else ProjectConfig()
    return stored.training or TrainingDefaults()


def name_taken(name: str, whose: str = "You have") -> ProjectNameTaken:
    return ProjectNameTaken(f"{whose} a project named {name!r} already; choose another name.")


async def _join(session: AsyncSession, project: Project, user_id: UUID, role: ProjectRole) -> None:
    session.add(ProjectMember(project_id=project.id, user_id=user_id, role=role))
    await session.flush()


def _require_valid(config: ProjectConfig | None) -> None:
    issues = config.issues() if config is not None else []
    if issues:
        named = ", ".join(each.pointer for each in issues)
        raise ConfigInvalid(
            f"Please mend {named}; GET /api/v1/algorithms lists what is valid.", errors=issues
        )


def _in_use(contents: Contents) -> str:
    models = _counted(contents.models, "model")
    if contents.deployed:
        models += f" ({contents.deployed} deployed)"
    held = [models, _counted(contents.datasets, "dataset"), _counted(contents.jobs_at_once, "unfinished job")]
    keys = _counted(contents.api_keys, "API key")
    also = f" {keys} bound to it would end with it." if contents.api_keys else ""
    what = ", ".join(each for each in held if not each.startswith("0 "))
    return (
        f"The project still has {what}: retire endpoints, cancel jobs, delete models and then datasets; or keep all, "
        f"and PATCH the project with status archived.{also}"
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _deed(action: Action, project: Project, **details: Any) -> Deed:
    return Deed(
        action, "project", str(project.id), project_id=project.id, details={"name": project.name, **details}
    )
