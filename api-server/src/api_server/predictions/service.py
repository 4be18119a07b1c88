import json
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter

from api_server.auth.actor import Actor
from api_server.auth.errors import RoleMissing
from api_server.database import AsyncSession, Sessions, transaction
from api_server.pagination import PageParams, Rows
from api_server.predictions import repository
from api_server.predictions.errors import PredictionNotFound
from api_server.predictions.models import LONGEST_LABEL, PredictionRecord
from api_server.predictions.schemas import PredictionFilter
from api_server.registry import service as registry
from platform_kit.contract.labels import label_key
from platform_kit.contract.prediction import Prediction
from platform_kit.plumbing.storable import storable

UNREMEMBERED = Counter(
    "mlp_predictions_unremembered_total", "Predictions that were answered and are missing in the history"
)
log = structlog.get_logger(__name__)


async def remember(sessions: Sessions, actor: Actor, input_data: Any, answer: bytes) -> None:
    """Write an answer of ml-service into the history."""
    try:
        found = Prediction.model_validate(storable(json.loads(answer)))
        async with transaction(sessions, of_one_statement=True) as session:
            session.add(_record(actor, storable(input_data), found))
    except Exception as error:  # the answer stands, whatever keeps it from being written
        UNREMEMBERED.inc()
        log.warning("prediction.not_remembered", error=type(error).__name__)


def _record(actor: Actor, input_data: Any, answer: Prediction) -> PredictionRecord:
    return PredictionRecord(
        id=UUID(answer.prediction_id),
        user_id=actor.user_id,
        model_id=answer.model_id,
        model_version=answer.metadata.model_version,
        prediction=None if answer.prediction is None else label_key(answer.prediction)[:LONGEST_LABEL],
        confidence=answer.confidence_score,
        is_warned=bool(answer.metadata.warnings),
        input_data=input_data,
        answer=answer.model_dump(mode="json"),
    )


async def get(session: AsyncSession, actor: Actor, prediction_id: UUID) -> PredictionRecord:
    record = await repository.find_own(session, actor, prediction_id)
    if record is None:
        raise PredictionNotFound
    return record


async def list_predictions(
    session: AsyncSession, actor: Actor, filters: PredictionFilter, params: PageParams
) -> Rows[PredictionRecord]:
    """The actor's own, or for an administrator everybody's."""
    if filters.user_id not in (None, actor.user_id) and not actor.is_admin:
        raise RoleMissing("Only an administrator may list the predictions of others; leave out user_id.")
    if filters.model_id is not None:
        model = await registry.find_by_ref(session, filters.model_id)
        filters = filters.model_copy(update={"model_id": str(model.id) if model else filters.model_id})
    return await repository.list_own(session, actor, filters, params)
