from datetime import datetime
from uuid import UUID

from api_server.auth.actor import Actor
from api_server.database import AsyncSession
from api_server.pagination import PageParams, Rows
from api_server.predictions import repository
from api_server.predictions.errors import PredictionNotFound
from api_server.predictions.models import PredictionRecord
from api_server.predictions.schemas import PredictIn
from platform_kit.contract.prediction import Prediction


async def remember(session: AsyncSession, actor: Actor, body: PredictIn, answer: Prediction) -> None:
    session.add(
        PredictionRecord(
            id=UUID(answer.prediction_id),
            user_id=actor.user_id,
            model_id=answer.model_id,
            model_version=answer.metadata.model_version,
            input_data=body.input_data,
            answer=answer.model_dump(mode="json"),
        )
    )
    await session.flush()


async def get(session: AsyncSession, actor: Actor, prediction_id: UUID) -> PredictionRecord:
    record = await repository.find_own(session, actor, prediction_id)
    if record is None:
        raise PredictionNotFound
    return record


async def list_predictions(
    session: AsyncSession,
    actor: Actor,
    params: PageParams,
    *,
    model_id: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Rows[PredictionRecord]:
    return await repository.list_own(session, actor, params, model_id=model_id, since=since, until=until)
