from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.auth.actor import Actor
from api_server.pagination import PageParams, Rows, fetch_page
from api_server.predictions.models import PredictionRecord


async def find_own(session: AsyncSession, actor: Actor, prediction_id: UUID) -> PredictionRecord | None:
    statement = select(PredictionRecord).where(PredictionRecord.id == prediction_id)
    if not actor.is_admin:
        statement = statement.where(PredictionRecord.user_id == actor.user_id)
    return await session.scalar(statement)


async def list_own(
    session: AsyncSession,
    actor: Actor,
    params: PageParams,
    *,
    model_id: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Rows[PredictionRecord]:
    statement = select(PredictionRecord)
    if not actor.is_admin:
        statement = statement.where(PredictionRecord.user_id == actor.user_id)
    if model_id is not None:
        statement = statement.where(PredictionRecord.model_id == model_id)
    if since is not None:
        statement = statement.where(PredictionRecord.created_at >= since)
    if until is not None:
        statement = statement.where(PredictionRecord.created_at < until)
    sortable = {"created_at": PredictionRecord.created_at}
    return await fetch_page(session, statement, params, sortable=sortable, id_column=PredictionRecord.id)
