from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from api_server.auth import administration
from api_server.auth.actor import Actor
from api_server.auth.dependencies import allowed
from api_server.auth.permissions import Action
from api_server.auth.schemas import (
    InvitationIn,
    InvitationMade,
    InvitationOut,
    ResetMade,
    UserDetail,
    UserFilter,
    UserPatch,
    invitation_out,
    user_detail,
)
from api_server.database import SessionDep
from api_server.pagination import Page, PageDep
from api_server.preconditions import IfMatch, set_etag
from api_server.responses import problems, sends
from platform_kit.contract.access import Role

router = APIRouter(tags=["users"])

Administrator = Annotated[Actor, allowed(Action.USER_ADMINISTER)]


def _filters(
    role: Role | None = None,
    is_active: bool | None = None,
    reset_requested: Annotated[bool, Query(description="only those who said that they lost it")] = False,
    q: Annotated[str | None, Query(max_length=200, description="text in a name or e-mail")] = None,
) -> UserFilter:
    return UserFilter(role=role, is_active=is_active, reset_requested=reset_requested, text=q)


@router.get("/users", name="list", summary="List accounts", responses=problems(401, 403, 422))
async def list_users(
    session: SessionDep,
    actor: Administrator,
    page: PageDep,
    filters: Annotated[UserFilter, Depends(_filters)],
) -> Page[UserDetail]:
    rows = await administration.list_users(session, filters, page)
    return Page(
        items=[user_detail(each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )


@router.get(
    "/users/{user_id}",
    name="get",
    summary="Read an account",
    responses={**sends(200, "ETag"), **problems(401, 403, 404, 422)},
)
async def get(user_id: UUID, session: SessionDep, actor: Administrator, response: Response) -> UserDetail:
    user = await administration.get_user(session, user_id)
    set_etag(response, user.revision)
    return user_detail(user)


@router.patch(
    "/users/{user_id}",
    name="change",
    summary="Change an account's role, disable or enable it",
    responses={**sends(200, "ETag"), **problems(401, 403, 404, 409, 412, 422)},
)
async def change(
    user_id: UUID,
    body: UserPatch,
    session: SessionDep,
    actor: Administrator,
    response: Response,
    if_match: IfMatch,
) -> UserDetail:
    user = await administration.change_user(session, actor, user_id, body, if_match)
    set_etag(response, user.revision)
    return user_detail(user)


@router.post(
    "/users/{user_id}/password-reset",
    status_code=201,
    name="offer_reset",
    summary="Make a token with which this user can set a new password within an hour",
    responses=problems(401, 403, 404, 422),
)
async def offer_reset(
    user_id: UUID, session: SessionDep, actor: Administrator, response: Response
) -> ResetMade:
    token, expires_at = await administration.offer_reset(session, actor, user_id)
    response.headers["Cache-Control"] = "no-store"
    return ResetMade(user_id=user_id, token=token, expires_at=expires_at)


@router.post(
    "/invitations",
    status_code=201,
    name="invite",
    summary="Invite somebody to register",
    responses=problems(401, 403, 409, 422),
)
async def invite(
    body: InvitationIn, request: Request, response: Response, session: SessionDep, actor: Administrator
) -> InvitationMade:
    invitation, code = await administration.invite(session, actor, body, request.state.settings)
    response.headers["Cache-Control"] = "no-store"
    return InvitationMade(**invitation_out(invitation).model_dump(), code=code)


@router.get(
    "/invitations", name="list_invitations", summary="List invitations", responses=problems(401, 403, 422)
)
async def list_invitations(session: SessionDep, actor: Administrator, page: PageDep) -> Page[InvitationOut]:
    rows = await administration.list_invitations(session, page)
    return Page(
        items=[invitation_out(each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )


@router.delete(
    "/invitations/{invitation_id}",
    status_code=204,
    name="revoke_invitation",
    summary="Revoke an invitation that was not used yet",
    responses=problems(401, 403, 404, 422),
)
async def revoke_invitation(invitation_id: UUID, session: SessionDep, actor: Administrator) -> None:
    await administration.revoke_invitation(session, actor, invitation_id)
