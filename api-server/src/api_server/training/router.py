from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response

from api_server.auth.actor import Actor
from api_server.auth.dependencies import allowed, open_to_all
from api_server.auth.permissions import Action
from api_server.database import SessionDep
from api_server.idempotency import IdempotencyKey, fingerprint, once
from api_server.jobs.schemas import JobOut, job_out
from api_server.preconditions import set_etag
from api_server.registry.schemas import ModelOut, model_out
from api_server.responses import problems, sends
from api_server.training import service
from api_server.training.schemas import AlgorithmList, NewModelIn, TrainIn
from platform_kit.contract.algorithms import ALGORITHMS

router = APIRouter(tags=["models"])

Maker = Annotated[Actor, allowed(Action.MODEL_CREATE)]
Trainer = Annotated[Actor, allowed(Action.MODEL_TRAIN)]


@router.post(
    "/models",
    status_code=201,
    name="create",
    summary="Create a model; with a dataset, train it",
    responses={**sends(201, "Location"), **problems(401, 403, 404, 409, 422, 429)},
)
async def create(
    body: NewModelIn,
    request: Request,
    response: Response,
    session: SessionDep,
    actor: Maker,
    idempotency_key: IdempotencyKey = None,
) -> ModelOut:
    async def make() -> ModelOut:
        model = await service.create_model(session, actor, body, request.state.settings)
        set_etag(response, model.revision)
        return model_out(model, None)

    out = await once(
        session,
        user_id=actor.user_id,
        key=idempotency_key,
        same=fingerprint(request, body),
        shape=ModelOut,
        make=make,
    )
    response.headers["Location"] = f"/api/v1/models/{out.id}"
    return out


@router.post(
    "/models/{model_id}/train",
    status_code=202,
    name="train",
    summary="Train the next version",
    responses={**sends(202, "Location"), **problems(401, 403, 404, 409, 422, 429)},
)
async def train(
    model_id: UUID,
    body: TrainIn,
    request: Request,
    response: Response,
    session: SessionDep,
    actor: Trainer,
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    async def make() -> JobOut:
        return job_out(await service.train(session, actor, model_id, body, request.state.settings))

    out = await once(
        session,
        user_id=actor.user_id,
        key=idempotency_key,
        same=fingerprint(request, body),
        shape=JobOut,
        make=make,
    )
    response.headers["Location"] = f"/api/v1/jobs/{out.id}"
    return out


@router.get(
    "/algorithms",
    name="list_algorithms",
    summary="What can be trained, with each parameter",
    dependencies=[open_to_all(Action.CATALOGUE_READ)],
)
async def list_algorithms() -> AlgorithmList:
    return AlgorithmList(items=ALGORITHMS, total=len(ALGORITHMS))
