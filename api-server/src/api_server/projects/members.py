"""Who is in a project, and whose it is. Every change holds the project's row, so that two cannot cross."""

from typing import Any
from uuid import UUID

from api_server import notices
from api_server.audit_trail import Deed, record
from api_server.auth import accounts
from api_server.auth.actor import Actor
from api_server.auth.errors import UserNotFound
from api_server.auth.models import User
from api_server.auth.permissions import Action
from api_server.database import AsyncSession, IntegrityError
from api_server.pagination import PageParams, Rows
from api_server.preconditions import require_match
from api_server.projects import repository, service
from api_server.projects.errors import (
    AlreadyMember,
    MemberNotFound,
    NotHandedOver,
    NotThePrimaryOwner,
    PrimaryOwnerStays,
)
from api_server.projects.models import Project, ProjectMember
from api_server.projects.schemas import MemberIn, MemberOut, PersonIn, member_out
from platform_kit.contract.access import Notice, NoticeKind, ProjectRole, Role


async def list_members(
    session: AsyncSession, actor: Actor, project_id: UUID, role: ProjectRole | None, params: PageParams
) -> Rows[MemberOut]:
    project = await service.require(session, actor, project_id, Action.PROJECT_READ)
    rows = await repository.list_members(session, project_id, role, params)
    users = await accounts.find_all(session, [each.user_id for each in rows.items])
    items = [
        member_out(each, users[each.user_id], project, shows_email=actor.is_admin) for each in rows.items
    ]
    return Rows(items=items, next_cursor=rows.next_cursor, total=rows.total)


async def get(session: AsyncSession, actor: Actor, project_id: UUID, user_id: UUID) -> MemberOut:
    """Raises MemberNotFound."""
    project = await service.require(session, actor, project_id, Action.PROJECT_READ)
    member, user = await _member(session, project, user_id)
    return member_out(member, user, project, shows_email=actor.is_admin)


async def add(session: AsyncSession, actor: Actor, project_id: UUID, body: MemberIn) -> MemberOut:
    """Raises UserNotFound, AlreadyMember."""
    project = await service.hold(session, actor, project_id, Action.PROJECT_SHARE)
    user = await _person(session, body)
    there = await repository.find_member(session, project_id, user.id)
    if there is not None:
        raise AlreadyMember(
            f"{user.username} is {there.role} here already; PATCH the member to change the role."
        )
    member = await _set_role(session, project, user.id, body.role)
    _record(session, actor, project, user, change="added", role=body.role)
    return member_out(member, user, project, shows_email=actor.is_admin or body.email is not None)


async def change(
    session: AsyncSession, actor: Actor, project_id: UUID, user_id: UUID, role: ProjectRole
) -> MemberOut:
    """Raises MemberNotFound, PrimaryOwnerStays."""
    project = await service.hold(session, actor, project_id, Action.PROJECT_SHARE)
    member, user = await _member(session, project, user_id)
    if role is not ProjectRole.OWNER:
        _refuse_primary_owner(project, user)
    if member.role != role:
        _record(session, actor, project, user, change="role", role=role, before=member.role)
        await _set_role(session, project, user_id, role)
    return member_out(member, user, project, shows_email=actor.is_admin)


async def remove(session: AsyncSession, actor: Actor, project_id: UUID, user_id: UUID) -> None:
    """Raises MemberNotFound, PrimaryOwnerStays."""
    project = await service.hold(session, actor, project_id, Action.PROJECT_SHARE)
    user = await _part(session, project, user_id)
    _record(session, actor, project, user, change="removed")


async def leave(session: AsyncSession, actor: Actor, project_id: UUID) -> None:
    """Raises MemberNotFound for an administrator who is none, PrimaryOwnerStays."""
    project = await service.hold(session, actor, project_id, Action.PROJECT_LEAVE)
    user = await _part(session, project, actor.user_id)
    details = {"username": user.username}
    record(session, actor.who, _deed(Action.PROJECT_LEAVE, project, user, details))


async def hand_over(
    session: AsyncSession, actor: Actor, project_id: UUID, person: PersonIn, if_match: str | None
) -> tuple[Project, ProjectRole | None]:
    """Make somebody else the primary owner; who was it before becomes an editor.

    Raises UserNotFound, NotThePrimaryOwner, NotHandedOver, ProjectNameTaken.
    """
    project = await service.hold(session, actor, project_id, Action.PROJECT_SHARE)
    require_match(if_match, project.revision)
    if project.owner_id != actor.user_id and not actor.is_admin:
        raise NotThePrimaryOwner
    user = await _person(session, person)
    _require_taker(project, user)
    former, taken = project.owner_id, service.name_taken(project.name, f"{user.username} has")
    try:
        async with session.begin_nested():
            project.owner_id = user.id
            await session.flush()
    except IntegrityError:
        raise taken from None
    await _set_role(session, project, former, ProjectRole.EDITOR)
    await _set_role(session, project, user.id, ProjectRole.OWNER)
    details = {"name": project.name, "change": "handed over", "to": user.username, "from": str(former)}
    deed = Deed(Action.PROJECT_SHARE, "project", str(project.id), project_id=project.id, details=details)
    record(session, actor.who, deed)
    return project, await service.role_in(session, actor, project_id)


def _require_taker(project: Project, user: User) -> None:
    if project.is_personal:
        raise NotHandedOver("This is somebody's personal project and stays theirs; add members to share it.")
    if user.id == project.owner_id:
        raise NotHandedOver(f"{user.username} is the primary owner already.")
    if not Role(user.role).covers(Role.DATA_SCIENTIST):
        raise NotHandedOver(
            f"{user.username} is {user.role} on this platform, and a primary owner needs to be data_scientist or more; "
            "an administrator can give that role."
        )


async def _person(session: AsyncSession, person: PersonIn) -> User:
    if person.user_id is not None:
        user = await accounts.find_by_id(session, person.user_id)
    else:
        user = await accounts.find(session, str(person.username or person.email))
    if user is None:
        raise UserNotFound
    return user


async def _member(session: AsyncSession, project: Project, user_id: UUID) -> tuple[ProjectMember, User]:
    member = await repository.find_member(session, project.id, user_id)
    users = await accounts.find_all(session, [user_id])
    if member is None or user_id not in users:
        raise MemberNotFound
    return member, users[user_id]


async def _part(session: AsyncSession, project: Project, user_id: UUID) -> User:
    member, user = await _member(session, project, user_id)
    _refuse_primary_owner(project, user)
    await session.delete(member)
    await session.flush()
    notices.tell(session, Notice(kind=NoticeKind.USER, id=user_id))
    return user


async def _set_role(
    session: AsyncSession, project: Project, user_id: UUID, role: ProjectRole
) -> ProjectMember:
    member = await repository.find_member(session, project.id, user_id)
    if member is None:
        member = ProjectMember(project_id=project.id, user_id=user_id)
        session.add(member)
    member.role = role
    await session.flush()
    notices.tell(session, Notice(kind=NoticeKind.USER, id=user_id))
    return member


def _refuse_primary_owner(project: Project, user: User) -> None:
    if project.owner_id != user.id:
        return
    if project.is_personal:
        raise PrimaryOwnerStays(f"This is the personal project of {user.username}, who stays its owner.")
    raise PrimaryOwnerStays(
        f"{user.username} is the primary owner; POST /api/v1/projects/{project.id}/transfer hands it over first."
    )


def _record(session: AsyncSession, actor: Actor, project: Project, user: User, **details: Any) -> None:
    told = {"username": user.username, **details}
    record(session, actor.who, _deed(Action.PROJECT_SHARE, project, user, told))


def _deed(action: Action, project: Project, user: User, details: dict[str, Any]) -> Deed:
    return Deed(action, "member", str(user.id), project_id=project.id, details=details)
