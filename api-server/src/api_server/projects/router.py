from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from api_server.auth.actor import Actor
from api_server.auth.dependencies import allowed
from api_server.auth.permissions import Action, PlatformDeed
from api_server.database import SessionDep
from api_server.idempotency import IdempotencyKey, fingerprint, once
from api_server.pagination import Page, PageDep
from api_server.preconditions import IfMatch, set_etag
from api_server.projects import members, quotas, service
from api_server.projects.models import ProjectStatus
from api_server.projects.schemas import (
    ActivityOut,
    MemberIn,
    MemberOut,
    MemberPatch,
    PersonIn,
    ProjectFilter,
    ProjectIn,
    ProjectOut,
    ProjectPatch,
    QuotasIn,
    UsageOut,
    activity_out,
    project_out,
)
from api_server.responses import problems, sends
from platform_kit.contract.access import ProjectRole

router = APIRouter(prefix="/projects", tags=["projects"])

Creator = Annotated[Actor, allowed(Action.PROJECT_CREATE)]
Reader = Annotated[Actor, allowed(Action.PROJECT_READ)]
Changer = Annotated[Actor, allowed(Action.PROJECT_CHANGE)]
Deleter = Annotated[Actor, allowed(Action.PROJECT_DELETE)]
Sharer = Annotated[Actor, allowed(Action.PROJECT_SHARE)]
Leaver = Annotated[Actor, allowed(Action.PROJECT_LEAVE)]
QuotaSetter = Annotated[Actor, allowed(Action.PROJECT_QUOTA)]


def _filters(
    status: ProjectStatus | None = None,
    tag: str | None = None,
    q: Annotated[str | None, Query(description="text in the name, the description or a tag")] = None,
) -> ProjectFilter:
    return ProjectFilter(status=status, tag=tag, text=q)


@router.post(
    "",
    status_code=201,
    summary="Create a project",
    responses={**sends(201, "Location", "ETag"), **problems(401, 403, 409, 422)},
)
async def create(
    body: ProjectIn,
    request: Request,
    response: Response,
    session: SessionDep,
    actor: Creator,
    idempotency_key: IdempotencyKey = None,
) -> ProjectOut:
    async def make() -> ProjectOut:
        return project_out(*await service.create(session, actor, body))

    out = await once(
        session,
        user_id=actor.user_id,
        key=idempotency_key,
        same=fingerprint(request, body),
        shape=ProjectOut,
        make=make,
    )
    response.headers["Location"] = f"/api/v1/projects/{out.id}"
    set_etag(response, 1)
    return out


@router.get("", name="list", summary="List projects", responses=problems(401, 422))
async def list_projects(
    session: SessionDep,
    actor: Reader,
    page: PageDep,
    filters: Annotated[ProjectFilter, Depends(_filters)],
) -> Page[ProjectOut]:
    rows = await service.list_projects(session, actor, filters, page)
    return Page(
        items=[project_out(*each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )


@router.get("/{project_id}", summary="Read a project", responses={**sends(200, "ETag"), **problems(401, 404)})
async def get(project_id: UUID, response: Response, session: SessionDep, actor: Reader) -> ProjectOut:
    project, role = await service.get(session, actor, project_id)
    set_etag(response, project.revision)
    return project_out(project, role)


@router.patch(
    "/{project_id}",
    summary="Change a project",
    responses={**sends(200, "ETag"), **problems(401, 403, 404, 409, 412, 422)},
)
async def change(
    project_id: UUID,
    body: ProjectPatch,
    response: Response,
    session: SessionDep,
    actor: Changer,
    if_match: IfMatch,
) -> ProjectOut:
    project, role = await service.change(session, actor, project_id, body, if_match)
    set_etag(response, project.revision)
    return project_out(project, role)


@router.delete(
    "/{project_id}", status_code=204, summary="Delete a project", responses=problems(401, 403, 404, 409, 412)
)
async def delete(project_id: UUID, session: SessionDep, actor: Deleter, if_match: IfMatch) -> None:
    await service.delete(session, actor, project_id, if_match)


@router.get(
    "/{project_id}/members", name="list_members", summary="List members", responses=problems(401, 404, 422)
)
async def list_members(
    project_id: UUID, session: SessionDep, actor: Reader, page: PageDep, role: ProjectRole | None = None
) -> Page[MemberOut]:
    rows = await members.list_members(session, actor, project_id, role, page)
    return Page(items=rows.items, next_cursor=rows.next_cursor, total=rows.total)


@router.post(
    "/{project_id}/members",
    status_code=201,
    name="add_member",
    summary="Add a member",
    responses={**sends(201, "Location"), **problems(401, 403, 404, 409, 422)},
)
async def add_member(
    project_id: UUID,
    body: MemberIn,
    request: Request,
    response: Response,
    session: SessionDep,
    actor: Sharer,
    idempotency_key: IdempotencyKey = None,
) -> MemberOut:
    out = await once(
        session,
        user_id=actor.user_id,
        key=idempotency_key,
        same=fingerprint(request, body),
        shape=MemberOut,
        make=lambda: members.add(session, actor, project_id, body),
    )
    response.headers["Location"] = f"/api/v1/projects/{project_id}/members/{out.user_id}"
    return out


@router.get(
    "/{project_id}/members/{user_id}",
    name="get_member",
    summary="Read a member",
    responses=problems(401, 404, 422),
)
async def get_member(project_id: UUID, user_id: UUID, session: SessionDep, actor: Reader) -> MemberOut:
    return await members.get(session, actor, project_id, user_id)


@router.patch(
    "/{project_id}/members/{user_id}",
    name="change_member",
    summary="Change a member's role",
    responses=problems(401, 403, 404, 409, 422),
)
async def change_member(
    project_id: UUID, user_id: UUID, body: MemberPatch, session: SessionDep, actor: Sharer
) -> MemberOut:
    return await members.change(session, actor, project_id, user_id, body.role)


@router.delete(
    "/{project_id}/members/{user_id}",
    status_code=204,
    name="remove_member",
    summary="Remove a member",
    responses=problems(401, 403, 404, 409),
)
async def remove_member(project_id: UUID, user_id: UUID, session: SessionDep, actor: Sharer) -> None:
    await members.remove(session, actor, project_id, user_id)


@router.post(
    "/{project_id}/leave",
    status_code=204,
    name="leave",
    summary="Leave a project",
    responses=problems(401, 403, 404, 409),
)
async def leave(project_id: UUID, session: SessionDep, actor: Leaver) -> None:
    await members.leave(session, actor, project_id)


@router.post(
    "/{project_id}/transfer",
    name="transfer",
    summary="Hand a project over to another primary owner; the former one becomes an editor",
    responses={**sends(200, "ETag"), **problems(401, 403, 404, 409, 412, 422)},
)
async def transfer(
    project_id: UUID,
    body: PersonIn,
    response: Response,
    session: SessionDep,
    actor: Sharer,
    if_match: IfMatch,
) -> ProjectOut:
    project, role = await members.hand_over(session, actor, project_id, body, if_match)
    set_etag(response, project.revision)
    return project_out(project, role)


@router.get(
    "/{project_id}/activity",
    name="list_activity",
    summary="What was done in a project, newest first",
    responses=problems(401, 404, 422),
)
async def list_activity(
    project_id: UUID,
    session: SessionDep,
    actor: Reader,
    page: PageDep,
    action: Annotated[Action | PlatformDeed | None, Query(description="what was done")] = None,
) -> Page[ActivityOut]:
    rows = await service.list_activity(session, actor, project_id, action, page)
    return Page(
        items=[activity_out(each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )


@router.get(
    "/{project_id}/usage",
    name="get_usage",
    summary="How much of its quotas a project uses",
    responses=problems(401, 404),
)
async def get_usage(project_id: UUID, request: Request, session: SessionDep, actor: Reader) -> UsageOut:
    return await quotas.usage(session, actor, project_id, request.state.settings)


@router.put(
    "/{project_id}/quotas",
    name="set_quotas",
    summary="Give a project quotas of its own",
    responses=problems(401, 403, 404, 422),
)
async def set_quotas(
    project_id: UUID, body: QuotasIn, request: Request, session: SessionDep, actor: QuotaSetter
) -> UsageOut:
    return await quotas.change(session, actor, project_id, body, request.state.settings)
