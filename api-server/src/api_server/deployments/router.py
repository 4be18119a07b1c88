from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from api_server.auth.actor import Actor
from api_server.auth.dependencies import allowed
from api_server.auth.permissions import Action
from api_server.database import SessionDep, Sessions, SessionsDep, transaction
from api_server.deployments import service
from api_server.deployments.models import Deployment, DeploymentStatus
from api_server.deployments.schemas import (
    DeployIn,
    DeploymentOut,
    DeployOut,
    EndpointOut,
    deployment_out,
    endpoint_out,
    endpoint_url,
)
from api_server.pagination import Page, PageDep
from api_server.registry.models import Model
from api_server.responses import problems
from platform_kit.contract.moments import Moment

router = APIRouter(tags=["deployments"])

Deployer = Annotated[Actor, allowed(Action.DEPLOYMENT_DEPLOY)]
Reader = Annotated[Actor, allowed(Action.DEPLOYMENT_READ)]
Retirer = Annotated[Actor, allowed(Action.DEPLOYMENT_RETIRE)]
RollerBack = Annotated[Actor, allowed(Action.DEPLOYMENT_ROLL_BACK)]


async def _awaited(request: Request, sessions: Sessions, deployment: Deployment, model: Model) -> DeployOut:
    """Answer once the deployment is settled; the wish itself is committed, so a lost client loses nothing."""
    settings = request.state.settings
    settled = await service.settled(sessions, deployment.id, settings)
    status = DeploymentStatus(settled.status)
    return DeployOut(
        model_id=model.id,
        version=settled.version,
        status=DeploymentStatus.DEPLOYING if status.is_coming else status,
        deployment_id=settled.id,
        endpoint=model.endpoint,
        url=endpoint_url(settings.public_ml_url, model.endpoint),
    )


@router.post(
    "/models/{model_id}/deploy",
    name="deploy",
    summary="Serve a version at the model's endpoint; waits until it answers, at most 30 s",
    responses=problems(401, 403, 404, 409, 422),
)
async def deploy(
    model_id: UUID, request: Request, sessions: SessionsDep, actor: Deployer, body: DeployIn | None = None
) -> DeployOut:
    wish = body or DeployIn()
    async with transaction(sessions) as session:
        deployment, model = await service.deploy(
            session, actor, model_id, version=wish.version, options=wish.config
        )
    return await _awaited(request, sessions, deployment, model)


@router.get(
    "/deployments", name="list", summary="List deployments, also past ones", responses=problems(401, 422)
)
async def list_deployments(
    request: Request,
    session: SessionDep,
    actor: Reader,
    page: PageDep,
    model_id: UUID | None = None,
    status: DeploymentStatus | None = None,
) -> Page[DeploymentOut]:
    rows = await service.list_deployments(session, actor, page, model_id=model_id, status=status)
    url = request.state.settings.public_ml_url
    items = [deployment_out(deployment, model, url) for deployment, model in rows.items]
    return Page(items=items, next_cursor=rows.next_cursor, total=rows.total)


@router.get(
    "/deployments/{deployment_id}", name="get", summary="Read a deployment", responses=problems(401, 404)
)
async def get(deployment_id: UUID, request: Request, session: SessionDep, actor: Reader) -> DeploymentOut:
    deployment, model = await service.get(session, actor, deployment_id)
    return deployment_out(deployment, model, request.state.settings.public_ml_url)


@router.get("/endpoints", name="list_endpoints", summary="List endpoints", responses=problems(401, 422))
async def list_endpoints(
    request: Request, session: SessionDep, actor: Reader, page: PageDep
) -> Page[EndpointOut]:
    rows = await service.list_endpoints(session, actor, page)
    url = request.state.settings.public_ml_url
    items = [endpoint_out(model, serving, url) for model, serving in rows.items]
    return Page(items=items, next_cursor=rows.next_cursor, total=rows.total)


@router.get(
    "/endpoints/{name}", name="get_endpoint", summary="Read an endpoint", responses=problems(401, 404)
)
async def get_endpoint(name: str, request: Request, session: SessionDep, actor: Reader) -> EndpointOut:
    model, serving = await service.get_endpoint(session, actor, name)
    return endpoint_out(model, serving, request.state.settings.public_ml_url)


@router.delete(
    "/endpoints/{name}",
    name="retire",
    status_code=204,
    summary="Stop serving",
    responses=problems(401, 403, 404),
)
async def retire(name: str, session: SessionDep, actor: Retirer) -> None:
    await service.retire(session, actor, name)


@router.post(
    "/endpoints/{name}/rollback",
    name="roll_back",
    summary="Serve what was served before; waits until it answers, at most 30 s",
    responses=problems(401, 403, 404, 409),
)
async def roll_back(name: str, request: Request, sessions: SessionsDep, actor: RollerBack) -> DeployOut:
    async with transaction(sessions) as session:
        deployment, model = await service.roll_back(session, actor, name)
    return await _awaited(request, sessions, deployment, model)


@router.get(
    "/endpoints/{name}/served",
    name="served_at",
    summary="Which deployment answered at a moment; null: none did",
    responses=problems(401, 404, 422),
)
async def served_at(
    name: str,
    request: Request,
    session: SessionDep,
    actor: Reader,
    at: Annotated[Moment, Query(description="RFC 3339, with a time zone", examples=["2026-11-01T12:00:00Z"])],
) -> DeploymentOut | None:
    found = await service.served_at(session, actor, name, at)
    return deployment_out(*found, request.state.settings.public_ml_url) if found else None
