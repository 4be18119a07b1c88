from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, String, and_, cast, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.auth.actor import Actor
from api_server.pagination import PageParams, Rows, fetch_page
from api_server.predictions.models import PredictionRecord
from api_server.registry.models import Model


async def find_own(session: AsyncSession, actor: Actor, prediction_id: UUID) -> PredictionRecord | None:
    statement = select(PredictionRecord).where(PredictionRecord.id == prediction_id, _readable_by(actor))
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
    statement = select(PredictionRecord).where(_readable_by(actor))
    if model_id is not None:
        statement = statement.where(PredictionRecord.model_id == model_id)
    if since is not None:
        statement = statement.where(PredictionRecord.created_at >= since)
    if until is not None:
        statement = statement.where(PredictionRecord.created_at < until)
    sortable = {"created_at": PredictionRecord.created_at}
    return await fetch_page(session, statement, params, sortable=sortable, id_column=PredictionRecord.id)


def _readable_by(actor: Actor) -> ColumnElement[bool]:
    """One's own, or all for an administrator; by a key that is bound to a project, those of its models."""
    conditions: list[ColumnElement[bool]] = [true()]
    if not actor.is_admin:
        conditions.append(PredictionRecord.user_id == actor.user_id)
    if actor.bound_to is not None:
        models = select(cast(Model.id, String)).where(Model.project_id == actor.bound_to)
        conditions.append(PredictionRecord.model_id.in_(models))
    return and_(*conditions)
