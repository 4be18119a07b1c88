from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import OAuth2PasswordRequestForm

from api_server.auth import service
from api_server.auth.dependencies import CurrentActor
from api_server.auth.errors import RefreshTokenInvalid
from api_server.auth.schemas import (
    PasswordIn,
    ProfileIn,
    RefreshIn,
    RegisterIn,
    SessionOut,
    TokenPair,
    UserOut,
    session_out,
    user_out,
)
from api_server.database import SessionDep, SessionsDep
from api_server.pagination import Page
from api_server.preconditions import IfMatch, set_etag
from api_server.responses import problems
from platform_kit.plumbing.problems import problem_response

router = APIRouter(prefix="/auth", tags=["auth"])


@router.post("/register", status_code=201, summary="Make an account", responses=problems(409, 422, 503))
async def register(body: RegisterIn, request: Request, response: Response, session: SessionDep) -> UserOut:
    user = await service.register(session, body, role=request.state.settings.registration_role)
    response.headers["Location"] = "/api/v1/auth/me"
    return user_out(user)


@router.post(
    "/token", summary="Sign in with a user name or e-mail and a password", responses=problems(401, 422, 503)
)
async def token(
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    request: Request,
    response: Response,
    sessions: SessionsDep,
) -> TokenPair:
    response.headers["Cache-Control"] = "no-store"
    return await service.log_in(
        sessions,
        form.username,
        form.password,
        settings=request.state.settings,
        address=request.client.host if request.client else None,
        user_agent=request.headers.get("user-agent"),
    )


@router.post(
    "/refresh",
    summary="Trade a refresh token for the next pair of tokens",
    response_model=TokenPair,
    responses=problems(401, 422),
)
async def refresh(
    body: RefreshIn, request: Request, response: Response, session: SessionDep
) -> TokenPair | Response:
    pair = await service.refresh(session, body.refresh_token, request.state.settings)
    if pair is None:
        # An answer, not an exception: raising would roll back the end of the session.
        refused = RefreshTokenInvalid()
        return problem_response(request, refused.as_detail(), headers=refused.headers)
    response.headers["Cache-Control"] = "no-store"
    return pair


@router.post("/logout", status_code=204, summary="End this session", responses=problems(401))
async def logout(session: SessionDep, actor: CurrentActor) -> None:
    await service.log_out(session, actor)


@router.get("/me", summary="Read your account", responses=problems(401))
async def me(session: SessionDep, actor: CurrentActor, response: Response) -> UserOut:
    user = await service.me(session, actor)
    set_etag(response, user.revision)
    return user_out(user)


@router.patch("/me", summary="Change your account", responses=problems(401, 409, 412, 422))
async def change_me(
    body: ProfileIn, session: SessionDep, actor: CurrentActor, response: Response, if_match: IfMatch
) -> UserOut:
    user = await service.change_profile(session, actor, body, if_match)
    set_etag(response, user.revision)
    return user_out(user)


@router.post(
    "/password",
    status_code=204,
    summary="Change your password; ends your other sessions",
    responses=problems(401, 403),
)
async def change_password(body: PasswordIn, session: SessionDep, actor: CurrentActor) -> None:
    await service.change_password(session, actor, body)


@router.get("/sessions", summary="List your live sessions", responses=problems(401))
async def list_sessions(session: SessionDep, actor: CurrentActor) -> Page[SessionOut]:
    found = await service.list_sessions(session, actor)
    items = [session_out(each, current=actor.session_id) for each in found]
    return Page(items=items, next_cursor=None, total=len(items))


@router.delete(
    "/sessions/{session_id}", status_code=204, summary="End a session", responses=problems(401, 404)
)
async def end_session(session_id: UUID, session: SessionDep, actor: CurrentActor) -> None:
    await service.end_session(session, actor, session_id)
