from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, String, and_, cast, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.auth.actor import Actor
from api_server.pagination import PageParams, Rows, fetch_page
from api_server.predictions.models import LONGEST_LABEL, PredictionRecord
from api_server.predictions.schemas import PredictionFilter
from api_server.registry.models import Model

MOST_COUNTED = 10_000
"""The history only grows, and nobody asks to the last digit how much there is of it."""


async def find_own(session: AsyncSession, actor: Actor, prediction_id: UUID) -> PredictionRecord | None:
    statement = select(PredictionRecord).where(PredictionRecord.id == prediction_id, _readable_by(actor))
    return await session.scalar(statement)


async def list_own(
    session: AsyncSession, actor: Actor, filters: PredictionFilter, params: PageParams
) -> Rows[PredictionRecord]:
    statement = select(PredictionRecord).where(_readable_by(actor), *_conditions(filters))
    sortable = {"created_at": PredictionRecord.created_at}
    return await fetch_page(
        session,
        statement,
        params,
        sortable=sortable,
        id_column=PredictionRecord.id,
        most_counted=MOST_COUNTED,
    )


def _conditions(filters: PredictionFilter) -> Iterator[ColumnElement[bool]]:
    record = PredictionRecord
    asked: tuple[tuple[object, Callable[[Any], ColumnElement[bool]]], ...] = (
        (filters.model_id, lambda model_id: record.model_id == model_id),
        (filters.model_version, lambda number: record.model_version == number),
        (filters.project_id, _is_of_project),
        (filters.user_id, lambda user_id: record.user_id == user_id),
        (filters.since, lambda moment: record.created_at >= moment),
        (filters.until, lambda moment: record.created_at < moment),
        (filters.prediction, lambda label: record.prediction == label[:LONGEST_LABEL]),
        (filters.min_confidence, lambda least: record.confidence >= least),
        (filters.max_confidence, lambda most: record.confidence <= most),
        (filters.warned, lambda is_warned: record.is_warned == is_warned),
    )
    return (condition(value) for value, condition in asked if value is not None)


def _is_of_project(project_id: UUID) -> ColumnElement[bool]:
    return PredictionRecord.model_id.in_(select(cast(Model.id, String)).where(Model.project_id == project_id))


def _readable_by(actor: Actor) -> ColumnElement[bool]:
    """One's own, or all for an administrator; by a key that is bound to a project, those of its models."""
    conditions: list[ColumnElement[bool]] = [true()]
    if not actor.is_admin:
        conditions.append(PredictionRecord.user_id == actor.user_id)
    if actor.bound_to is not None:
        conditions.append(_is_of_project(actor.bound_to))
    return and_(*conditions)
