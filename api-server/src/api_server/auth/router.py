from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import OAuth2PasswordRequestForm

from api_server.auth import accounts, sessions
from api_server.auth.actor import Actor
from api_server.auth.dependencies import Caller, allowed, open_to_all
from api_server.auth.errors import RefreshTokenInvalid
from api_server.auth.permissions import Action
from api_server.auth.schemas import (
    DeactivateIn,
    PasswordIn,
    ProfileIn,
    RefreshIn,
    RegisterIn,
    ResetIn,
    ResetRequestIn,
    SessionOut,
    TokenPair,
    UserOut,
    session_out,
    user_out,
)
from api_server.auth.sessions import Credentials
from api_server.database import SessionDep, SessionsDep
from api_server.pagination import Page, PageDep
from api_server.preconditions import IfMatch, set_etag
from api_server.responses import problems, sends
from platform_kit.plumbing.problems import problem_response
from platform_kit.plumbing.rate_limits import rate_limits_of

router = APIRouter(prefix="/auth", tags=["auth"])

Reader = Annotated[Actor, allowed(Action.ACCOUNT_READ)]
Changer = Annotated[Actor, allowed(Action.ACCOUNT_CHANGE)]


@router.post(
    "/register",
    status_code=201,
    summary="Make an account",
    dependencies=[open_to_all(Action.REGISTER)],
    responses={**sends(201, "Location"), **problems(403, 409, 422, 429, 503)},
)
async def register(
    body: RegisterIn, request: Request, response: Response, session: SessionDep, caller: Caller
) -> UserOut:
    settings = request.state.settings
    # The one answer that tells whether an account exists: so it cannot be asked without end.
    await rate_limits_of(request).require_address("registration", settings.registration_limit)
    user = await accounts.register(session, body, who=caller, settings=settings)
    response.headers["Location"] = "/api/v1/auth/me"
    return user_out(user)


@router.post(
    "/token",
    summary="Sign in with a user name or e-mail and a password",
    dependencies=[open_to_all(Action.LOG_IN)],
    responses=problems(401, 422, 429, 503),
)
async def token(
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    request: Request,
    response: Response,
    open_sessions: SessionsDep,
    caller: Caller,
) -> TokenPair:
    response.headers["Cache-Control"] = "no-store"
    return await sessions.log_in(
        open_sessions,
        Credentials(form.username, form.password, request.headers.get("user-agent")),
        who=caller,
        throttle=request.state.throttle,
        settings=request.state.settings,
    )


@router.post(
    "/refresh",
    summary="Trade a refresh token for the next pair of tokens",
    dependencies=[open_to_all(Action.REFRESH)],
    response_model=TokenPair,
    responses=problems(401, 422, 503),
)
async def refresh(
    body: RefreshIn, request: Request, response: Response, session: SessionDep, caller: Caller
) -> TokenPair | Response:
    pair = await sessions.refresh(session, body.refresh_token, caller, request.state.settings)
    if pair is None:
        # An answer, not an exception: raising would roll back the end of the session.
        refused = RefreshTokenInvalid()
        return problem_response(request, refused.as_detail(), headers=refused.headers)
    response.headers["Cache-Control"] = "no-store"
    return pair


@router.post("/logout", status_code=204, summary="End this session", responses=problems(401, 403))
async def logout(session: SessionDep, actor: Changer) -> None:
    await sessions.log_out(session, actor)


@router.get("/me", summary="Read your account", responses={**sends(200, "ETag"), **problems(401, 403)})
async def me(session: SessionDep, actor: Reader, response: Response) -> UserOut:
    user = await accounts.me(session, actor)
    set_etag(response, user.revision)
    return user_out(user)


@router.patch(
    "/me",
    summary="Change your account",
    responses={**sends(200, "ETag"), **problems(401, 403, 409, 412, 422)},
)
async def change_me(
    body: ProfileIn, session: SessionDep, actor: Changer, response: Response, if_match: IfMatch
) -> UserOut:
    user = await accounts.change_profile(session, actor, body, if_match)
    set_etag(response, user.revision)
    return user_out(user)


@router.post(
    "/password",
    status_code=204,
    summary="Change your password; ends your other sessions",
    responses=problems(401, 403, 422, 503),
)
async def change_password(
    body: PasswordIn, request: Request, open_sessions: SessionsDep, actor: Changer
) -> None:
    await accounts.change_password(open_sessions, actor, body, request.state.throttle)


@router.post(
    "/deactivate",
    status_code=204,
    summary="Close your account; an administrator can open it again",
    responses=problems(401, 403, 409, 422, 503),
)
async def deactivate(
    body: DeactivateIn, request: Request, open_sessions: SessionsDep, actor: Changer
) -> None:
    await accounts.deactivate(open_sessions, actor, body.password, request.state.throttle)


@router.post(
    "/password-reset-requests",
    status_code=202,
    summary="Say that a password is lost; administrators see it, and the answer is always the same",
    dependencies=[open_to_all(Action.RESET_PASSWORD)],
    responses=problems(422, 429, 503),
)
async def ask_for_reset(
    body: ResetRequestIn, request: Request, open_sessions: SessionsDep, caller: Caller
) -> dict[str, str]:
    limit = request.state.settings.password_reset_limit
    await rate_limits_of(request).require_address("password_reset", limit)
    await accounts.ask_for_reset(open_sessions, body.login, caller)
    return {"detail": "If there is such an account, an administrator can now hand its owner a reset token."}


@router.post(
    "/password-reset",
    status_code=204,
    summary="Set a new password with a reset token; ends all sessions",
    dependencies=[open_to_all(Action.RESET_PASSWORD)],
    responses=problems(401, 422, 429, 503),
)
async def reset_password(body: ResetIn, request: Request, session: SessionDep, caller: Caller) -> None:
    limit = request.state.settings.password_reset_limit
    await rate_limits_of(request).require_address("password_reset", limit)
    await accounts.reset_password(session, body, caller)


@router.get("/sessions", summary="List your live sessions", responses=problems(401, 403, 422))
async def list_sessions(session: SessionDep, actor: Changer, page: PageDep) -> Page[SessionOut]:
    rows = await sessions.list_live(session, actor, page)
    items = [session_out(each, current=actor.credential_id) for each in rows.items]
    return Page(items=items, next_cursor=rows.next_cursor, total=rows.total)


@router.delete(
    "/sessions", status_code=204, summary="End all your sessions, this one too", responses=problems(401, 403)
)
async def end_sessions(session: SessionDep, actor: Changer) -> None:
    await sessions.log_out_everywhere(session, actor)


@router.delete(
    "/sessions/{session_id}", status_code=204, summary="End a session", responses=problems(401, 403, 404, 422)
)
async def end_session(session_id: UUID, session: SessionDep, actor: Changer) -> None:
    await sessions.end(session, actor, session_id)
