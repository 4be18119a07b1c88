from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from api_server.auth.actor import Actor
from api_server.auth.dependencies import allowed
from api_server.auth.permissions import Action
from api_server.database import SessionDep
from api_server.pagination import Page, PageDep
from api_server.preconditions import IfMatch, set_etag
from api_server.registry import service
from api_server.registry.models import ModelStatus
from api_server.registry.schemas import (
    ModelFilter,
    ModelOut,
    ModelPatch,
    VersionOut,
    VersionSummary,
    model_out,
    version_out,
    version_summary,
)
from api_server.responses import problems, sends
from platform_kit.contract.algorithms import Framework
from platform_kit.contract.numbers import VersionNumber

router = APIRouter(prefix="/models", tags=["models"])

Reader = Annotated[Actor, allowed(Action.MODEL_READ)]
Changer = Annotated[Actor, allowed(Action.MODEL_CHANGE)]
Deleter = Annotated[Actor, allowed(Action.MODEL_DELETE)]


def _filters(
    project_id: UUID | None = None,
    status: ModelStatus | None = None,
    framework: Framework | None = None,
    name: str | None = None,
) -> ModelFilter:
    return ModelFilter(project_id=project_id, status=status, framework=framework, name=name)


@router.get("", name="list", summary="List models", responses=problems(401, 422))
async def list_models(
    session: SessionDep,
    actor: Reader,
    page: PageDep,
    filters: Annotated[ModelFilter, Depends(_filters)],
) -> Page[ModelOut]:
    rows = await service.list_models(session, actor, filters, page)
    return Page(
        items=[model_out(*each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )


@router.get("/{model_id}", summary="Read a model", responses={**sends(200, "ETag"), **problems(401, 404)})
async def get(model_id: UUID, response: Response, session: SessionDep, actor: Reader) -> ModelOut:
    model, newest = await service.get(session, actor, model_id)
    set_etag(response, model.revision)
    return model_out(model, newest)


@router.patch(
    "/{model_id}",
    summary="Describe a model",
    responses={**sends(200, "ETag"), **problems(401, 403, 404, 412, 422)},
)
async def change(
    model_id: UUID,
    body: ModelPatch,
    response: Response,
    session: SessionDep,
    actor: Changer,
    if_match: IfMatch,
) -> ModelOut:
    model, newest = await service.change(session, actor, model_id, body, if_match)
    set_etag(response, model.revision)
    return model_out(model, newest)


@router.delete(
    "/{model_id}", status_code=204, summary="Delete a model", responses=problems(401, 403, 404, 409, 412)
)
async def delete(
    model_id: UUID, request: Request, session: SessionDep, actor: Deleter, if_match: IfMatch
) -> None:
    await service.delete(session, actor, model_id, if_match, request.state.handlers)


@router.get("/{model_id}/versions", summary="List the versions of a model", responses=problems(401, 404, 422))
async def list_versions(
    model_id: UUID, session: SessionDep, actor: Reader, page: PageDep
) -> Page[VersionSummary]:
    model, rows = await service.list_versions(session, actor, model_id, page)
    items = [version_summary(model, each) for each in rows.items]
    return Page(items=items, next_cursor=rows.next_cursor, total=rows.total)


@router.get(
    "/{model_id}/versions/{version}", summary="Read a version with its manifest", responses=problems(401, 404)
)
async def get_version(
    model_id: UUID, version: VersionNumber, session: SessionDep, actor: Reader
) -> VersionOut:
    return version_out(*await service.get_version(session, actor, model_id, version))
