"""Deploying: a wish is written down, replicas prove it, and only then the endpoint moves.

Lock order, everywhere: the model's row, then its project's, then its deployments, then the serving generation.
"""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from api_server.audit_trail import Deed, record
from api_server.auth.actor import Actor
from api_server.auth.permissions import Action
from api_server.database import AsyncSession, Sessions, transaction, utc_now
from api_server.deployments import repository
from api_server.deployments.errors import (
    DeploymentNotFound,
    DeploymentRefused,
    EndpointNotFound,
    NothingToDeploy,
    NothingToRollBackTo,
    OptionsDoNotFit,
)
from api_server.deployments.models import Deployment, DeploymentStatus
from api_server.pagination import PageParams, Rows
from api_server.projects import service as projects
from api_server.registry import service as registry
from api_server.registry.models import Model, ModelStatus, ModelVersion
from api_server.settings import Settings
from platform_kit.contract.artifact import Manifest, canonical_json
from platform_kit.contract.serving_options import ServingOptions

POLL_SECONDS = 0.05

Known = tuple[Deployment, Model]


async def deploy(
    session: AsyncSession, actor: Actor, model_id: UUID, *, version: int | None, options: ServingOptions
) -> Known:
    """Ask for a version to be served; without `version` the newest, also one that is still in training.

    Raises NothingToDeploy when there is no version and none is coming, OptionsDoNotFit. Whether options fit a version
    that is still to come, the replicas find out.
    """
    model = await registry.require(session, actor, model_id, Action.DEPLOYMENT_DEPLOY)
    config = options.model_dump(mode="json", exclude_defaults=True)
    if version is None and model.status == ModelStatus.TRAINING:
        return await _deploy(session, actor, model, version=None, config=config), model
    number = version or model.latest_version
    if number is None:
        raise NothingToDeploy(
            f"The model has no version and none is in training; POST /api/v1/models/{model.id}/train first."
        )
    _require_fitting(options, await registry.version_of(session, model, number))
    current = (await repository.serving(session, [model.id])).get(model.id)
    if current is not None and _is_the_same(current, number, config):
        await _keep(session, actor, model, current)
        return current, model
    return await _deploy(session, actor, model, version=number, config=config), model


async def roll_back(session: AsyncSession, actor: Actor, endpoint: str) -> Known:
    """Ask for what served before the current deployment: another version, or the same one with other options."""
    model = await _endpoint(session, actor, endpoint, Action.DEPLOYMENT_ROLL_BACK)
    current = (await repository.serving(session, [model.id])).get(model.id)
    before = await repository.previous(session, current) if current else None
    if before is None:
        raise NothingToRollBackTo("Nothing else has served at this endpoint before.")
    wish = await _wish(session, actor, model, version=before.version, config=before.config, is_rollback=True)
    record(session, actor.who, deed(Action.DEPLOYMENT_ROLL_BACK, model, wish))
    return wish, model


async def retire(session: AsyncSession, actor: Actor, endpoint: str) -> None:
    """Stop serving; the endpoint keeps its name and its history."""
    model = await _endpoint(session, actor, endpoint, Action.DEPLOYMENT_RETIRE)
    await repository.supersede_coming(session, model.id, reason="retired")
    current = (await repository.serving(session, [model.id])).get(model.id)
    if current is not None:
        _close(current, DeploymentStatus.SUPERSEDED, "retired")
    model.deployed_version = None
    await session.flush()
    await repository.bump_generation(session)
    record(session, actor.who, deed(Action.DEPLOYMENT_RETIRE, model, current))


async def settled(sessions: Sessions, deployment_id: UUID, settings: Settings) -> Deployment:
    """Wait until the deployment is served by every live replica, or has failed, or the patience is used up.

    Raises DeploymentRefused with the reason when a replica refused it.
    """
    deadline = asyncio.get_running_loop().time() + settings.deploy_wait_seconds
    while True:
        async with transaction(sessions) as session:
            deployment = await repository.read(session, deployment_id)
            slowest = await repository.slowest_replica(session, lost_seconds=settings.replica_lost_seconds)
        if deployment is None:
            raise DeploymentNotFound
        status = DeploymentStatus(deployment.status)
        if status is DeploymentStatus.FAILED:
            raise DeploymentRefused(f"The version was not deployed: {deployment.reason}")
        is_everywhere = slowest is None or slowest >= (deployment.generation or 0)
        is_settled = not status.is_coming and (is_everywhere or status is not DeploymentStatus.DEPLOYED)
        if is_settled or asyncio.get_running_loop().time() > deadline:
            return deployment
        await asyncio.sleep(POLL_SECONDS)


async def get(session: AsyncSession, actor: Actor, deployment_id: UUID) -> Known:
    found = await repository.find_visible(session, actor, deployment_id)
    if found is None:
        raise DeploymentNotFound
    return found


async def list_deployments(
    session: AsyncSession,
    actor: Actor,
    params: PageParams,
    *,
    model_id: UUID | None,
    status: DeploymentStatus | None,
) -> Rows[Known]:
    rows, models = await repository.list_visible(session, actor, params, model_id=model_id, status=status)
    items = [(each, models[each.model_id]) for each in rows.items]
    return Rows(items=items, next_cursor=rows.next_cursor, total=rows.total)


async def list_endpoints(
    session: AsyncSession, actor: Actor, params: PageParams
) -> Rows[tuple[Model, Deployment | None]]:
    rows = await repository.list_endpoints(session, actor, params)
    serving = await repository.serving(session, [each.id for each in rows.items])
    items = [(each, serving.get(each.id)) for each in rows.items]
    return Rows(items=items, next_cursor=rows.next_cursor, total=rows.total)


async def get_endpoint(session: AsyncSession, actor: Actor, name: str) -> tuple[Model, Deployment | None]:
    model = await _endpoint(session, actor, name, Action.DEPLOYMENT_READ)
    return model, (await repository.serving(session, [model.id])).get(model.id)


async def served_at(session: AsyncSession, actor: Actor, name: str, moment: datetime) -> Known | None:
    """The deployment that answered at `moment`, if one did."""
    model = await _endpoint(session, actor, name, Action.DEPLOYMENT_READ)
    found = await repository.served_at(session, model.id, moment)
    return (found, model) if found else None


async def forget_replicas(session: AsyncSession) -> int:
    """Delete replicas that have not reported for a day."""
    return await repository.delete_silent_replicas(session, seconds=24 * 3600)


async def _endpoint(session: AsyncSession, actor: Actor, name: str, action: Action) -> Model:
    model = await repository.find_endpoint(session, actor, name, lock=action is not Action.DEPLOYMENT_READ)
    if model is None:
        raise EndpointNotFound
    await projects.require(session, actor, model.project_id, action)
    return model


def _require_fitting(options: ServingOptions, version: ModelVersion) -> None:
    manifest = Manifest.model_validate(version.manifest)
    issues = options.issues(contract=manifest.contract, task=manifest.task, classes=manifest.classes)
    if issues:
        named = ", ".join(dict.fromkeys(each.pointer for each in issues))
        detail = f"These options make no sense for version {version.version}; please mend {named}."
        raise OptionsDoNotFit(detail, errors=issues)


def _is_the_same(current: Deployment, number: int, config: dict[str, Any]) -> bool:
    """Compared as JSON: in Python a class that is answered as 1 and one that is answered as true would be equal."""
    return current.version == number and canonical_json(current.config) == canonical_json(config)


async def _keep(session: AsyncSession, actor: Actor, model: Model, current: Deployment) -> None:
    """What is served is what was asked for last, so nothing that is still coming may replace it."""
    if await repository.supersede_coming(session, model.id, reason="what is served was asked for again"):
        await repository.bump_generation(session)
        record(session, actor.who, deed(Action.DEPLOYMENT_DEPLOY, model, current))


async def _deploy(
    session: AsyncSession, actor: Actor, model: Model, *, version: int | None, config: dict[str, Any]
) -> Deployment:
    wish = await _wish(session, actor, model, version=version, config=config)
    record(session, actor.who, deed(Action.DEPLOYMENT_DEPLOY, model, wish))
    return wish


async def _wish(
    session: AsyncSession,
    actor: Actor,
    model: Model,
    *,
    version: int | None,
    config: dict[str, Any],
    is_rollback: bool = False,
) -> Deployment:
    await repository.supersede_coming(session, model.id, reason="another deployment was asked for")
    wish = Deployment(
        id=uuid4(),
        model_id=model.id,
        version=version,
        job_id=model.job_id if version is None else None,
        status=DeploymentStatus.PENDING if version is None else DeploymentStatus.DEPLOYING,
        config=config,
        is_rollback=is_rollback,
        created_by=actor.user_id,
    )
    session.add(wish)
    await session.flush()
    await repository.bump_generation(session)
    return wish


def deed(action: str, model: Model, deployment: Deployment | None) -> Deed:
    """version: null for a deployment that waits for a training, and where nothing was served. config: its options."""
    return Deed(
        action,
        "deployment" if deployment else "endpoint",
        str(deployment.id) if deployment else model.endpoint,
        project_id=model.project_id,
        details={
            "endpoint": model.endpoint,
            "version": deployment.version if deployment else None,
            **({"config": deployment.config} if deployment and deployment.config else {}),
        },
    )


def _close(deployment: Deployment, status: DeploymentStatus, reason: str) -> None:
    deployment.status, deployment.reason, deployment.ended_at = status, reason, utc_now()
