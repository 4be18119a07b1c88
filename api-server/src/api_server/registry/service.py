from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from api_server.audit_trail import PLATFORM, Deed, record
from api_server.auth.actor import Actor
from api_server.auth.permissions import Action, PlatformDeed
from api_server.database import AsyncSession, IntegrityError
from api_server.datasets.models import DatasetVersion
from api_server.jobs import service as jobs
from api_server.jobs.handler import Handlers
from api_server.pagination import PageParams, Rows
from api_server.preconditions import require_match
from api_server.projects import quotas
from api_server.projects import service as projects
from api_server.projects.models import Project
from api_server.projects.quotas import Quota
from api_server.registry import repository
from api_server.registry.errors import ModelInUse, ModelNameTaken, ModelNotFound, ModelVersionNotFound
from api_server.registry.models import Model, ModelStatus, ModelVersion
from api_server.registry.repository import KeysOfVersions
from api_server.registry.schemas import ModelFilter, ModelPatch
from api_server.registry.slugs import slug_of
from platform_kit.contract.artifact import Manifest, ManifestRef

Known = tuple[Model, ModelVersion | None]


@dataclass(frozen=True)
class NewModel:
    name: str
    framework: str
    model_type: str
    algorithm: str
    description: str = ""
    tags: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    preprocessing: dict[str, Any] = field(default_factory=dict)
    dataset_id: UUID | None = None
    target: str | None = None


async def create(
    session: AsyncSession, actor: Actor, project: Project, new: NewModel, *, quota_models: int
) -> Model:
    """Register a model without versions; raises ModelNameTaken when the project has one of that name.

    quota_models: how many a project may usually have; raises QuotaExceeded.
    """
    await quotas.require_room(session, project.id, Quota.MODELS, usual=quota_models)
    model = Model(
        id=uuid4(),
        project_id=project.id,
        owner_id=actor.user_id,
        endpoint=await _free_endpoint(session, new.name),
        status=ModelStatus.CREATED,
        **vars(new),
    )
    try:
        async with session.begin_nested():
            session.add(model)
            await session.flush()
    except IntegrityError as error:
        if "endpoint" in str(error.orig):
            return await create(session, actor, project, new, quota_models=quota_models)
        raise ModelNameTaken(
            f"The project has a model named {new.name!r}; train a new version of it, or choose another name."
        ) from None
    return model


async def get(session: AsyncSession, actor: Actor, model_id: UUID) -> Known:
    model = await _visible(session, actor, model_id)
    return model, (await repository.newest_versions(session, [model])).get(model.id)


async def require(session: AsyncSession, actor: Actor, model_id: UUID, action: Action) -> Model:
    """The model, locked for a change; raises ModelNotFound, or what `projects.require` raises."""
    model = await repository.find_visible(session, actor, model_id, lock=True)
    if model is None:
        raise ModelNotFound
    await projects.require(session, actor, model.project_id, action)
    return model


async def list_models(
    session: AsyncSession, actor: Actor, filters: ModelFilter, params: PageParams
) -> Rows[Known]:
    rows = await repository.list_visible(session, actor, filters, params)
    newest = await repository.newest_versions(session, rows.items)
    items: list[Known] = [(each, newest.get(each.id)) for each in rows.items]
    return Rows(items=items, next_cursor=rows.next_cursor, total=rows.total)


async def change(
    session: AsyncSession, actor: Actor, model_id: UUID, patch: ModelPatch, if_match: str | None
) -> Known:
    model = await require(session, actor, model_id, Action.MODEL_CHANGE)
    require_match(if_match, model.revision)
    changes = patch.model_dump(exclude_none=True)
    for name, value in changes.items():
        setattr(model, name, value)
    await session.flush()
    if changes:
        record(session, actor.who, deed(Action.MODEL_CHANGE, model, changed=sorted(changes)))
    return await get(session, actor, model_id)


async def delete(
    session: AsyncSession, actor: Actor, model_id: UUID, if_match: str | None, handlers: Handlers
) -> None:
    """Delete a model that is at rest; older trainings of it, which its status does not show, are called off."""
    seen = await _visible(session, actor, model_id)
    await projects.require(session, actor, seen.project_id, Action.MODEL_DELETE)
    _require_at_rest(seen)
    await jobs.abandon(session, [seen.id], handlers)
    model = await require(session, actor, model_id, Action.MODEL_DELETE)
    require_match(if_match, model.revision)
    _require_at_rest(model)
    await session.delete(model)
    await session.flush()
    record(session, actor.who, deed(Action.MODEL_DELETE, model, versions=model.latest_version or 0))


def _require_at_rest(model: Model) -> None:
    if model.deployed_version is not None:
        raise ModelInUse(
            f"Version {model.deployed_version} is deployed; DELETE /api/v1/endpoints/{model.endpoint} first."
        )
    if model.status == ModelStatus.TRAINING:
        raise ModelInUse(f"It is being trained; POST /api/v1/jobs/{model.job_id}/cancel first.")


async def get_version(
    session: AsyncSession, actor: Actor, model_id: UUID, number: int
) -> tuple[Model, ModelVersion]:
    model = await _visible(session, actor, model_id)
    return model, await version_of(session, model, number)


async def version_of(session: AsyncSession, model: Model, number: int) -> ModelVersion:
    version = await repository.find_version(session, model.id, number)
    if version is None:
        have = f"versions 1 to {model.latest_version}" if model.latest_version else "no version yet"
        raise ModelVersionNotFound(f"The model has {have}; there is no version {number}.")
    return version


async def find_version(session: AsyncSession, model_id: UUID, number: int) -> ModelVersion | None:
    return await repository.find_version(session, model_id, number)


async def list_versions(
    session: AsyncSession, actor: Actor, model_id: UUID, params: PageParams
) -> tuple[Model, Rows[ModelVersion]]:
    model = await _visible(session, actor, model_id)
    return model, await repository.list_versions(session, model.id, params)


async def find_by_ref(session: AsyncSession, ref: str) -> Model | None:
    """Find a model by its id or its endpoint's name, whoever asks."""
    try:
        model_id = UUID(ref)
    except ValueError:
        return await repository.find_by_endpoint(session, ref)
    return await repository.find_by_id(session, model_id)


async def find(session: AsyncSession, model_id: UUID) -> Model | None:
    return await repository.find_by_id(session, model_id)


async def lock(session: AsyncSession, model_id: UUID) -> Model | None:
    return await repository.lock(session, model_id)


async def register_version(
    session: AsyncSession,
    model: Model,
    *,
    job_id: UUID,
    dataset_version: DatasetVersion,
    manifest: Manifest,
    ref: ManifestRef,
) -> ModelVersion:
    """Add the next version. `model` must be locked: its row hands out the numbers."""
    model.latest_version = (model.latest_version or 0) + 1
    version = ModelVersion(
        id=uuid4(),
        model_id=model.id,
        version=model.latest_version,
        framework=manifest.framework,
        algorithm=manifest.algorithm,
        metrics=manifest.metrics,
        digest=ref.digest,
        manifest=manifest.model_dump(mode="json"),
        manifest_key=ref.key,
        manifest_sha256=ref.sha256,
        dataset_version_id=dataset_version.id,
        dataset_id=dataset_version.dataset_id,
        dataset_version=dataset_version.version,
        job_id=job_id,
    )
    session.add(version)
    await session.flush()
    told = {"version": version.version, "job_id": str(job_id)}
    record(session, PLATFORM, deed(PlatformDeed.MODEL_VERSION_REGISTERED, model, **told))
    return version


def deed(action: str, model: Model, **details: Any) -> Deed:
    return Deed(
        action, "model", str(model.id), project_id=model.project_id, details={"name": model.name, **details}
    )


async def version_of_job(session: AsyncSession, job_id: UUID) -> ModelVersion | None:
    return await repository.find_version_of_job(session, job_id)


async def keys_in_use(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Those of the keys of objects that a version refers to: manifests, and the files that these name."""
    return await repository.keys_among(session, keys)


async def keys_after(session: AsyncSession, version_id: UUID | None, most: int) -> KeysOfVersions:
    """For going through all that versions refer to: the next ones, in the order of their ids."""
    return await repository.keys_after(session, version_id, most)


def manifest_ref(version: ModelVersion) -> ManifestRef:
    return ManifestRef(key=version.manifest_key, sha256=version.manifest_sha256, digest=version.digest)


async def _visible(session: AsyncSession, actor: Actor, model_id: UUID) -> Model:
    model = await repository.find_visible(session, actor, model_id)
    if model is None:
        raise ModelNotFound
    return model


async def _free_endpoint(session: AsyncSession, name: str) -> str:
    slug = slug_of(name)
    taken = await repository.endpoints_like(session, slug)
    number, free = 1, slug
    while free in taken:
        number += 1
        free = f"{slug}-{number}"
    return free
