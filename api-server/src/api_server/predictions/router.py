from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api_server.auth.actor import Actor
from api_server.auth.dependencies import allowed
from api_server.auth.permissions import Action
from api_server.database import SessionDep, SessionsDep
from api_server.ml_client import MlClient, Refusal
from api_server.pagination import Page, PageDep
from api_server.predictions import request_body, service
from api_server.predictions.schemas import PredictIn, PredictionFilter, RecordOut, record_out
from api_server.responses import problems
from platform_kit.contract.prediction import Prediction
from platform_kit.plumbing.problems import problem_response

router = APIRouter(prefix="/predictions", tags=["predictions"])

Predictor = Annotated[Actor, allowed(Action.PREDICTION_MAKE)]
Reader = Annotated[Actor, allowed(Action.PREDICTION_READ)]
Filters = Annotated[PredictionFilter, Query()]
_TAKES = PredictIn.model_json_schema()
"""The body is read raw, so that nothing wrong with it is lost; this is what it is."""


@router.post(
    "",
    summary="Predict one row; the answer is ml-service's own, and it is kept in the history",
    response_model=Prediction,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _TAKES}}}},
    responses=problems(401, 404, 409, 422, 503),
)
async def create(request: Request, sessions: SessionsDep, actor: Predictor) -> Response:
    asked = await request_body.read(request)
    ml: MlClient = request.state.ml
    answer = await ml.predict(asked.model, asked.rest, headers=request.headers, who=actor.who)
    if isinstance(answer, Refusal):
        shows = request.state.settings.problems_show_values
        return problem_response(request, answer.detail, headers=answer.headers, show_values=shows)
    await service.remember(sessions, actor, asked.input_data, answer)
    return Response(answer, media_type="application/json")


@router.get("", name="list", summary="List your predictions", responses=problems(401, 403, 422))
async def list_predictions(
    session: SessionDep, actor: Reader, page: PageDep, filters: Filters
) -> Page[RecordOut]:
    rows = await service.list_predictions(session, actor, filters, page)
    return Page(
        items=[record_out(each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )


@router.get("/{prediction_id}", summary="Read one of your predictions", responses=problems(401, 404))
async def get(prediction_id: UUID, session: SessionDep, actor: Reader) -> RecordOut:
    return record_out(await service.get(session, actor, prediction_id))
