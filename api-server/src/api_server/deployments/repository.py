from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.auth.actor import Actor
from api_server.deployments.models import Deployment, DeploymentStatus, Replica, ServingGeneration
from api_server.pagination import PageParams, Rows, fetch_page
from api_server.projects.access import visible_to
from api_server.registry.models import Model, ModelVersion

COMING = (DeploymentStatus.PENDING, DeploymentStatus.DEPLOYING)


async def bump_generation(session: AsyncSession) -> int:
    """Also a lock: changes of what is served happen one after the other."""
    statement = insert(ServingGeneration).values(id=1, generation=1)
    bumped: int | None = await session.scalar(
        statement.on_conflict_do_update(
            index_elements=[ServingGeneration.id], set_={"generation": ServingGeneration.generation + 1}
        ).returning(ServingGeneration.generation)
    )
    assert bumped is not None  # an upsert always returns its row
    return bumped


async def generation(session: AsyncSession) -> int:
    return await session.scalar(select(ServingGeneration.generation)) or 0


async def note_replica(session: AsyncSession, name: str, applied_generation: int) -> None:
    statement = insert(Replica).values(name=name, applied_generation=applied_generation, seen_at=func.now())
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[Replica.name],
            set_={"applied_generation": applied_generation, "seen_at": func.now()},
        )
    )


async def slowest_replica(session: AsyncSession, *, lost_seconds: float) -> int | None:
    """The generation that every live replica has applied; None when none is alive."""
    return await session.scalar(
        select(func.min(Replica.applied_generation)).where(
            Replica.seen_at > func.now() - timedelta(seconds=lost_seconds)
        )
    )


async def delete_silent_replicas(session: AsyncSession, *, seconds: float) -> int:
    gone = await session.execute(
        delete(Replica)
        .where(Replica.seen_at < func.now() - timedelta(seconds=seconds))
        .returning(Replica.name)
    )
    return len(gone.all())


async def find_visible(
    session: AsyncSession, actor: Actor, deployment_id: UUID
) -> tuple[Deployment, Model] | None:
    statement = (
        select(Deployment, Model)
        .join(Model, Model.id == Deployment.model_id)
        .where(Deployment.id == deployment_id, visible_to(actor, Model.project_id))
    )
    row = (await session.execute(statement)).one_or_none()
    return (row[0], row[1]) if row else None


async def read(session: AsyncSession, deployment_id: UUID) -> Deployment | None:
    return await session.get(Deployment, deployment_id)


async def lock(session: AsyncSession, deployment_id: UUID) -> Deployment | None:
    return await session.scalar(
        select(Deployment)
        .where(Deployment.id == deployment_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


async def list_visible(
    session: AsyncSession,
    actor: Actor,
    params: PageParams,
    *,
    model_id: UUID | None,
    status: DeploymentStatus | None,
) -> tuple[Rows[Deployment], dict[UUID, Model]]:
    statement = (
        select(Deployment)
        .join(Model, Model.id == Deployment.model_id)
        .where(visible_to(actor, Model.project_id))
    )
    if model_id is not None:
        statement = statement.where(Deployment.model_id == model_id)
    if status is not None:
        statement = statement.where(Deployment.status == status)
    sortable = {"created_at": Deployment.created_at}
    rows = await fetch_page(session, statement, params, sortable=sortable, id_column=Deployment.id)
    models = await session.scalars(select(Model).where(Model.id.in_([each.model_id for each in rows.items])))
    return rows, {each.id: each for each in models}


async def list_endpoints(session: AsyncSession, actor: Actor, params: PageParams) -> Rows[Model]:
    """Models that were ever deployed: each has an endpoint."""
    was_deployed = select(Deployment.id).where(Deployment.model_id == Model.id).exists()
    statement = select(Model).where(was_deployed, visible_to(actor, Model.project_id))
    sortable = {"created_at": Model.created_at, "name": Model.endpoint}
    return await fetch_page(session, statement, params, sortable=sortable, id_column=Model.id)


async def find_endpoint(
    session: AsyncSession, actor: Actor, name: str, *, lock: bool = False
) -> Model | None:
    statement = select(Model).where(Model.endpoint == name, visible_to(actor, Model.project_id))
    return await session.scalar(statement.with_for_update() if lock else statement)


async def serving(session: AsyncSession, model_ids: Sequence[UUID]) -> dict[UUID, Deployment]:
    found = await session.scalars(
        select(Deployment).where(
            Deployment.model_id.in_(model_ids), Deployment.status == DeploymentStatus.DEPLOYED
        )
    )
    return {each.model_id: each for each in found}


async def served_at(session: AsyncSession, model_id: UUID, moment: datetime) -> Deployment | None:
    return await session.scalar(
        select(Deployment)
        .where(
            Deployment.model_id == model_id,
            Deployment.deployed_at <= moment,
            or_(Deployment.ended_at.is_(None), Deployment.ended_at > moment),
        )
        .order_by(Deployment.deployed_at.desc())
        .limit(1)
    )


async def previous(session: AsyncSession, current: Deployment) -> Deployment | None:
    """The last deployment of another version, or with another config, that has served before the current one."""
    return await session.scalar(
        select(Deployment)
        .where(
            Deployment.model_id == current.model_id,
            Deployment.status == DeploymentStatus.SUPERSEDED,
            Deployment.deployed_at.is_not(None),
            or_(Deployment.version != current.version, Deployment.config != current.config),
        )
        .order_by(Deployment.ended_at.desc())
        .limit(1)
    )


async def supersede_coming(session: AsyncSession, model_id: UUID, *, reason: str) -> int:
    """Returns how many there were."""
    coming = await session.execute(
        update(Deployment)
        .where(Deployment.model_id == model_id, Deployment.status.in_(COMING))
        .values(status=DeploymentStatus.SUPERSEDED, reason=reason, ended_at=func.now())
        .returning(Deployment.id)
    )
    return len(coming.all())


async def lock_pending(session: AsyncSession) -> Sequence[Deployment]:
    found = await session.scalars(
        select(Deployment)
        .where(Deployment.status == DeploymentStatus.PENDING)
        .with_for_update(skip_locked=True)
    )
    return found.all()


async def wanted(session: AsyncSession) -> Sequence[tuple[Deployment, Model, ModelVersion]]:
    """Everything that replicas should serve or prove."""
    rows = await session.execute(
        select(Deployment, Model, ModelVersion)
        .join(Model, Model.id == Deployment.model_id)
        .join(
            ModelVersion,
            (ModelVersion.model_id == Deployment.model_id) & (ModelVersion.version == Deployment.version),
        )
        .where(Deployment.status.in_((DeploymentStatus.DEPLOYED, DeploymentStatus.DEPLOYING)))
        .order_by(Deployment.created_at)
    )
    return [(row[0], row[1], row[2]) for row in rows]
