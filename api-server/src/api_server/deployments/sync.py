"""The other end of the replicas' `sync`: takes in what they proved, hands out what they should serve."""

from uuid import UUID

from api_server.audit_trail import PLATFORM, record
from api_server.auth.permissions import PlatformDeed
from api_server.database import AsyncSession, utc_now
from api_server.deployments import repository
from api_server.deployments.models import Deployment, DeploymentStatus
from api_server.deployments.service import deed
from api_server.jobs import service as jobs
from api_server.registry import service as registry
from api_server.registry.models import Model, ModelVersion
from platform_kit.contract.artifact import Task
from platform_kit.contract.jobs import JobStatus
from platform_kit.contract.serving import ModelLookup, Proof, ReplicaReport, ServedVersion, ServingState


async def sync(session: AsyncSession, report: ReplicaReport) -> ServingState:
    """Record a replica's report and return the state it should reach, in full only when it is behind."""
    for proof in report.proofs:
        await _take(session, proof)
    await _promote_pending(session)
    await repository.note_replica(session, report.replica, report.applied_generation)
    generation = await repository.generation(session)
    if generation == report.applied_generation:
        return ServingState(generation=generation)
    wanted = await repository.wanted(session)
    return ServingState(
        generation=generation,
        active=[_served(m, v, d) for d, m, v in wanted if d.status == DeploymentStatus.DEPLOYED],
        candidates=[_served(m, v, d) for d, m, v in wanted if d.status == DeploymentStatus.DEPLOYING],
    )


async def look_up(session: AsyncSession, ref: str, version: int | None) -> ModelLookup | None:
    """Describe one model, and a version of it if asked for, whether deployed or not."""
    model = await registry.find_by_ref(session, ref)
    if model is None:
        return None
    found, serving = None, None
    if version is not None:
        found = await registry.find_version(session, model.id, version)
        serving = (await repository.serving(session, [model.id])).get(model.id)
    return ModelLookup(
        model_id=model.id,
        name=model.name,
        endpoint=model.endpoint,
        project_id=model.project_id,
        status=model.status,
        version=_pinned(model, found, serving) if found else None,
    )


async def _take(session: AsyncSession, proof: Proof) -> None:
    deployment = await repository.read(session, proof.deployment_id)
    if deployment is None or proof.is_transient:
        return
    model = await registry.lock(session, deployment.model_id)
    deployment = await repository.lock(session, proof.deployment_id)
    if model is None or deployment is None or deployment.status != DeploymentStatus.DEPLOYING:
        return  # another replica was first, or the wish was replaced
    if proof.holds:
        await _move_endpoint(session, model, deployment)
    else:
        deployment.status, deployment.reason = DeploymentStatus.FAILED, proof.reason
        deployment.ended_at = utc_now()
        record(session, PLATFORM, deed(PlatformDeed.DEPLOYMENT_FAILED, model, deployment))
    await session.flush()
    deployment.generation = await repository.bump_generation(session)


async def _move_endpoint(session: AsyncSession, model: Model, deployment: Deployment) -> None:
    now = utc_now()
    current = (await repository.serving(session, [model.id])).get(model.id)
    if current is not None:
        ended = DeploymentStatus.ROLLED_BACK if deployment.is_rollback else DeploymentStatus.SUPERSEDED
        current.status, current.ended_at = ended, now
        anew = " with other options" if deployment.version == current.version else ""
        current.reason = f"version {deployment.version} was deployed{anew}"
        await session.flush()
    deployment.status, deployment.deployed_at, deployment.reason = DeploymentStatus.DEPLOYED, now, None
    model.deployed_version = deployment.version
    record(session, PLATFORM, deed(PlatformDeed.DEPLOYMENT_DEPLOYED, model, deployment))


async def _promote_pending(session: AsyncSession) -> None:
    """Let deployments that waited for a training go on, or fail with it."""
    for deployment in await repository.lock_pending(session):
        job = await jobs.find(session, deployment.job_id) if deployment.job_id else None
        if job is not None and not JobStatus(job.status).is_terminal:
            continue
        version = await _version_of(session, deployment.job_id)
        if version is None:
            deployment.status, deployment.ended_at = DeploymentStatus.FAILED, utc_now()
            deployment.reason = (
                f"The training it waited for ended {job.status if job else 'unknown'}, without a version."
            )
            await _record_failed(session, deployment)
        else:
            deployment.status, deployment.version = DeploymentStatus.DEPLOYING, version.version
        await session.flush()
        await repository.bump_generation(session)


async def _record_failed(session: AsyncSession, deployment: Deployment) -> None:
    model = await registry.find(session, deployment.model_id)
    if model is not None:
        record(session, PLATFORM, deed(PlatformDeed.DEPLOYMENT_FAILED, model, deployment))


async def _version_of(session: AsyncSession, job_id: UUID | None) -> ModelVersion | None:
    return await registry.version_of_job(session, job_id) if job_id else None


def _pinned(model: Model, version: ModelVersion, serving: Deployment | None) -> ServedVersion:
    """The version that is deployed answers a pinned request as its endpoint does; any other one as it was trained."""
    is_deployed = serving is not None and serving.version == version.version
    served = _served(model, version, None)
    return served.model_copy(update={"config": serving.config}) if serving and is_deployed else served


def _served(model: Model, version: ModelVersion, deployment: Deployment | None) -> ServedVersion:
    return ServedVersion(
        model_id=model.id,
        name=model.name,
        endpoint=model.endpoint,
        project_id=model.project_id,
        framework=version.framework,
        model_type=Task(model.model_type),
        version=version.version,
        manifest=registry.manifest_ref(version),
        deployment_id=deployment.id if deployment else None,
        config=deployment.config if deployment else {},
    )
