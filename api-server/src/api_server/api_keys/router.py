from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api_server.api_keys import service
from api_server.api_keys.schemas import ApiKeyIn, ApiKeyMade, ApiKeyOut, api_key_out
from api_server.auth.actor import Actor
from api_server.auth.dependencies import allowed
from api_server.auth.permissions import Action
from api_server.database import SessionDep
from api_server.pagination import Page, PageDep
from api_server.responses import problems, sends

router = APIRouter(prefix="/api-keys", tags=["api-keys"])

Manager = Annotated[Actor, allowed(Action.API_KEY_MANAGE)]


@router.post(
    "",
    status_code=201,
    summary="Make an API key; its secret is shown this once",
    responses={**sends(201, "Location"), **problems(401, 403, 404, 409, 422)},
)
async def create(
    body: ApiKeyIn, request: Request, response: Response, session: SessionDep, actor: Manager
) -> ApiKeyMade:
    """Takes no Idempotency-Key: a repeated answer would have to keep the secret."""
    key, text = await service.make(session, actor, body, request.state.settings)
    response.headers["Location"] = f"/api/v1/api-keys/{key.id}"
    response.headers["Cache-Control"] = "no-store"
    return ApiKeyMade(**api_key_out(key).model_dump(), secret=text)


@router.get("", name="list", summary="List your API keys", responses=problems(401, 403, 422))
async def list_keys(
    session: SessionDep,
    actor: Manager,
    page: PageDep,
    user_id: Annotated[UUID | None, Query(description="for administrators: whose; left out: yours")] = None,
) -> Page[ApiKeyOut]:
    rows = await service.list_keys(session, actor, user_id, page)
    return Page(
        items=[api_key_out(each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )


@router.get("/{key_id}", summary="Read an API key", responses=problems(401, 403, 404, 422))
async def get(key_id: UUID, session: SessionDep, actor: Manager) -> ApiKeyOut:
    return api_key_out(await service.get(session, actor, key_id))


@router.delete(
    "/{key_id}", status_code=204, summary="Revoke an API key", responses=problems(401, 403, 404, 422)
)
async def revoke(key_id: UUID, session: SessionDep, actor: Manager) -> None:
    await service.revoke(session, actor, key_id)
