"""Whose turn it is in a queue: projects take turns; within one the higher priority goes first, then the older job.

So nobody waits behind another project's thousand jobs, and a priority is a matter between a project's own jobs.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from api_server.jobs.models import Job
from platform_kit.contract.jobs import JobStatus

CANDIDATES = 100


def is_waiting() -> ColumnElement[bool]:
    """The condition that a job may be claimed now. Its status is a literal, so that the index of just these serves."""
    return and_(
        Job.status == literal(str(JobStatus.QUEUED), literal_execute=True),
        Job.waits_for.is_(None),
        Job.attempt < Job.max_attempts,
        or_(Job.not_before.is_(None), Job.not_before <= func.now()),
    )


async def next_in(session: AsyncSession, queue: str) -> Sequence[UUID]:
    """Jobs of a queue that may be claimed, the one whose turn it is first."""
    places = _places(queue).subquery()
    found = await session.scalars(select(places.c.id).order_by(places.c.place).limit(CANDIDATES))
    return found.all()


async def places_in(session: AsyncSession, queue: str, job_ids: Sequence[UUID]) -> dict[UUID, int]:
    """Where jobs stand in their queue, counted from 1; one that may not be claimed yet has no place."""
    places = _places(queue).subquery()
    found = await session.execute(select(places.c.id, places.c.place).where(places.c.id.in_(job_ids)))
    return {job_id: place for job_id, place in found.all()}


def _places(queue: str) -> Select[Any]:
    within = (Job.priority.desc(), Job.created_at, Job.id)
    waiting = (
        select(
            Job.id,
            Job.project_id,
            Job.created_at,
            func.row_number().over(partition_by=Job.project_id, order_by=within).label("round"),
        )
        .where(Job.queue == queue, is_waiting())
        .cte("waiting")
    )
    earlier = aliased(Job)
    last_turn = (
        select(func.max(earlier.claimed_at))
        .where(earlier.queue == queue, earlier.project_id == waiting.c.project_id)
        .scalar_subquery()
    )
    projects = (
        select(waiting.c.project_id, last_turn.label("last_turn"))
        .group_by(waiting.c.project_id)
        .cte("waiting_projects")
    )
    order = (waiting.c.round, projects.c.last_turn.nulls_first(), waiting.c.created_at, waiting.c.id)
    return select(waiting.c.id, func.row_number().over(order_by=order).label("place")).select_from(
        waiting.outerjoin(projects, projects.c.project_id == waiting.c.project_id)
    )
