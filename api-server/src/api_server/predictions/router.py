from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response

from api_server.auth.actor import Actor
from api_server.auth.dependencies import allowed
from api_server.auth.permissions import Action
from api_server.database import SessionDep, SessionsDep, transaction
from api_server.ml_client import MlClient
from api_server.pagination import Page, PageDep
from api_server.predictions import service
from api_server.predictions.schemas import PredictIn, RecordOut, record_out
from api_server.responses import problems
from platform_kit.contract.moments import Moment
from platform_kit.contract.prediction import Prediction

router = APIRouter(prefix="/predictions", tags=["predictions"])

Predictor = Annotated[Actor, allowed(Action.PREDICTION_MAKE)]
Reader = Annotated[Actor, allowed(Action.PREDICTION_READ)]


@router.post(
    "",
    summary="Predict one row; the answer is ml-service's own, and it is kept in the history",
    response_model=Prediction,
    responses=problems(401, 404, 409, 422, 503),
)
async def create(
    body: PredictIn, request: Request, sessions: SessionsDep, actor: Predictor
) -> Prediction | Response:
    ml: MlClient = request.state.ml
    answer = await ml.predict(body.model_id, body.row(), headers=request.headers, who=actor.who)
    if isinstance(answer, Response):
        return answer
    async with transaction(sessions) as session:
        await service.remember(session, actor, body, answer)
    return answer


@router.get("", name="list", summary="List your predictions", responses=problems(401, 422))
async def list_predictions(
    session: SessionDep,
    actor: Reader,
    page: PageDep,
    model_id: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> Page[RecordOut]:
    rows = await service.list_predictions(session, actor, page, model_id=model_id, since=since, until=until)
    return Page(
        items=[record_out(each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )


@router.get("/{prediction_id}", summary="Read one of your predictions", responses=problems(401, 404))
async def get(prediction_id: UUID, session: SessionDep, actor: Reader) -> RecordOut:
    return record_out(await service.get(session, actor, prediction_id))
