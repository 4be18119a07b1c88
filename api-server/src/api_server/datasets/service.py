from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from api_server.audit_trail import PLATFORM, Deed, record
from api_server.auth.actor import Actor
from api_server.auth.permissions import Action, PlatformDeed
from api_server.database import AsyncSession, IntegrityError
from api_server.datasets import repository
from api_server.datasets.errors import DatasetInUse, DatasetNotFound, DatasetNotReady, DatasetVersionNotFound
from api_server.datasets.models import Dataset, DatasetStatus, DatasetVersion
from api_server.datasets.repository import KeysOfVersions
from api_server.datasets.schemas import DatasetForm, DatasetPatch
from api_server.datasets.upload import Announced, Received
from api_server.jobs import service as jobs
from api_server.jobs.handler import Handlers
from api_server.jobs.service import Work
from api_server.pagination import PageParams, Rows
from api_server.preconditions import require_match
from api_server.projects import quotas
from api_server.projects import service as projects
from api_server.projects.quotas import Quota
from api_server.settings import Settings
from platform_kit.contract.jobs import DatasetRef, JobKind
from platform_kit.contract.problem import ProblemDetail
from platform_kit.contract.schema import Column, FileType

Known = tuple[Dataset, DatasetVersion]

_OUTCOMES = {
    DatasetStatus.READY: PlatformDeed.DATASET_READY,
    DatasetStatus.REJECTED: PlatformDeed.DATASET_REJECTED,
    DatasetStatus.FAILED: PlatformDeed.DATASET_FAILED,
}


async def expect(
    session: AsyncSession, actor: Actor, project_id: UUID, announced: Announced, settings: Settings
) -> None:
    """Refuse before its bytes are received what would be refused afterwards: who may not, and what cannot fit."""
    await projects.require(session, actor, project_id, Action.DATASET_CREATE)
    if announced.least_bytes:
        await quotas.require_likely_room(
            session,
            project_id,
            Quota.DATASET_BYTES,
            usual=settings.quota_dataset_bytes,
            more=announced.least_bytes,
        )


async def expect_version(
    session: AsyncSession, actor: Actor, dataset_id: UUID, announced: Announced, settings: Settings
) -> None:
    """The same for a version; what may be the same bytes as an earlier one needs no room."""
    dataset = await _visible(session, actor, dataset_id)
    sizes = (announced.least_bytes, announced.most_bytes)
    if announced.least_bytes and await repository.has_version_between(session, dataset.id, *sizes):
        announced = Announced(announced.fields)
    await expect(session, actor, dataset.project_id, announced, settings)


async def create(
    session: AsyncSession, actor: Actor, form: DatasetForm, received: Received, settings: Settings
) -> Known:
    """Register a stored file as version 1 of a new dataset and have it profiled."""
    if form.project_id is None:
        project = await projects.personal(session, actor, Action.DATASET_CREATE)
    else:
        project = await projects.require(session, actor, form.project_id, Action.DATASET_CREATE)
    await _require_room(session, project.id, received, settings)
    dataset = Dataset(
        id=uuid4(),
        project_id=project.id,
        owner_id=actor.user_id,
        name=form.name,
        description=form.description,
        tags=form.tags,
        latest_version=1,
    )
    session.add(dataset)
    await session.flush()
    version = await _add_version(session, actor, dataset, received, settings)
    record(session, actor.who, _deed(Action.DATASET_CREATE, dataset, version=1))
    return dataset, version


async def add_version(
    session: AsyncSession, actor: Actor, dataset_id: UUID, received: Received, settings: Settings
) -> tuple[Dataset, DatasetVersion, bool]:
    """Add a version; the same bytes as an earlier one return that one. The last value says whether it is new."""
    dataset = await _editable(session, actor, dataset_id, Action.DATASET_CREATE)
    same = await repository.find_same_bytes(session, dataset.id, received.sha256)
    if same is not None:
        return dataset, same, False
    await _require_room(session, dataset.project_id, received, settings)
    dataset.latest_version += 1
    version = await _add_version(session, actor, dataset, received, settings)
    record(session, actor.who, _deed(Action.DATASET_CREATE, dataset, version=version.version))
    return dataset, version, True


async def _add_version(
    session: AsyncSession, actor: Actor, dataset: Dataset, received: Received, settings: Settings
) -> DatasetVersion:
    version = DatasetVersion(
        id=uuid4(),
        dataset_id=dataset.id,
        version=dataset.latest_version,
        status=DatasetStatus.PENDING,
        file_name=received.file_name,
        file_type=received.file_type,
        size_bytes=received.size_bytes,
        sha256=received.sha256,
        key=received.key,
    )
    session.add(version)
    await session.flush()
    job = await jobs.submit(
        session,
        work=Work(
            kind=JobKind.PROFILE,
            subject_id=version.id,
            project_id=dataset.project_id,
            created_by=actor.user_id,
            request={"dataset_id": str(dataset.id), "version": version.version},
            dataset_id=dataset.id,
        ),
        max_attempts=settings.job_max_attempts,
    )
    version.job_id = job.id
    await session.flush()
    return version


async def get(session: AsyncSession, actor: Actor, dataset_id: UUID) -> Known:
    dataset = await _visible(session, actor, dataset_id)
    return dataset, await _version(session, dataset, dataset.latest_version)


async def get_version(session: AsyncSession, actor: Actor, dataset_id: UUID, version: int | None) -> Known:
    dataset = await _visible(session, actor, dataset_id)
    return dataset, await _version(session, dataset, version or dataset.latest_version)


async def get_ready(session: AsyncSession, actor: Actor, dataset_id: UUID, version: int | None) -> Known:
    """A version whose schema is known; raises DatasetNotReady with the way on."""
    dataset, found = await get_version(session, actor, dataset_id, version)
    status = DatasetStatus(found.status)
    if status is DatasetStatus.READY:
        return dataset, found
    if status.is_coming:
        raise DatasetNotReady(
            f"Version {found.version} is {status}; follow GET /api/v1/jobs/{found.job_id} and ask again.",
            retry_after_seconds=1,
        )
    why = (found.error or {}).get("detail", "")
    raise DatasetNotReady(
        f"Version {found.version} is {status}: {why} Upload a corrected file as a new version."
    )


async def list_datasets(
    session: AsyncSession,
    actor: Actor,
    params: PageParams,
    *,
    project_id: UUID | None,
    tag: str | None,
    text: str | None,
) -> Rows[Known]:
    rows = await repository.list_visible(session, actor, params, project_id=project_id, tag=tag, text=text)
    newest = await repository.newest_versions(session, rows.items)
    items = [(each, newest[each.id]) for each in rows.items]
    return Rows(items=items, next_cursor=rows.next_cursor, total=rows.total)


async def list_versions(
    session: AsyncSession, actor: Actor, dataset_id: UUID, params: PageParams
) -> Rows[DatasetVersion]:
    dataset = await _visible(session, actor, dataset_id)
    return await repository.list_versions(session, dataset.id, params)


async def change(
    session: AsyncSession, actor: Actor, dataset_id: UUID, patch: DatasetPatch, if_match: str | None
) -> Known:
    dataset = await _editable(session, actor, dataset_id, Action.DATASET_CHANGE)
    require_match(if_match, dataset.revision)
    changes = patch.model_dump(exclude_none=True)
    for name, value in changes.items():
        setattr(dataset, name, value)
    await session.flush()
    if changes:
        record(session, actor.who, _deed(Action.DATASET_CHANGE, dataset, changed=sorted(changes)))
    return dataset, await _version(session, dataset, dataset.latest_version)


async def delete(
    session: AsyncSession, actor: Actor, dataset_id: UUID, if_match: str | None, handlers: Handlers
) -> list[str]:
    """Delete a dataset that nothing refers to; returns the object keys that are now nobody's."""
    seen = await _visible(session, actor, dataset_id)
    await jobs.abandon(session, await repository.version_ids(session, seen.id), handlers)
    dataset = await _editable(session, actor, dataset_id, Action.DATASET_DELETE)
    require_match(if_match, dataset.revision)
    keys = await repository.all_keys(session, dataset.id)
    try:
        async with session.begin_nested():
            await session.delete(dataset)
            await session.flush()
    except IntegrityError:
        raise DatasetInUse(
            "Models were trained on this dataset; delete them first, so that their lineage does not break."
        ) from None
    record(session, actor.who, _deed(Action.DATASET_DELETE, dataset, versions=len(keys)))
    return keys


async def settle(
    session: AsyncSession, version: DatasetVersion, status: DatasetStatus, error: ProblemDetail | None
) -> None:
    """Record what came of a version's profiling, and let what waited for it go on."""
    version.status = status
    version.error = error.model_dump(mode="json", exclude_none=True) if error else None
    await jobs.release_waiting(session, version.id)
    dataset = await repository.find(session, version.dataset_id)
    if dataset is not None:
        code = {"code": error.code} if error else {}
        record(session, PLATFORM, _deed(_OUTCOMES[status], dataset, version=version.version, **code))


async def version_by_id(session: AsyncSession, version_id: UUID) -> DatasetVersion | None:
    return await repository.find_version_by_id(session, version_id)


async def hold_version(session: AsyncSession, version_id: UUID) -> DatasetVersion | None:
    """A version whose status will not change before this transaction ends: for who is going to wait for it, or not."""
    return await repository.hold_version(session, version_id)


async def hold_visible_version(
    session: AsyncSession, actor: Actor, version_id: UUID
) -> DatasetVersion | None:
    """The same; None also when it is not the actor's to see."""
    version = await repository.hold_version(session, version_id)
    if version is None or await repository.find_visible(session, actor, version.dataset_id) is None:
        return None
    return version


def as_ref(version: DatasetVersion) -> DatasetRef:
    return DatasetRef(
        dataset_id=version.dataset_id,
        version=version.version,
        key=version.key,
        sha256=version.sha256,
        size_bytes=version.size_bytes,
        file_type=FileType(version.file_type),
        columns=[Column.model_validate(each) for each in version.columns] if version.columns else None,
    )


async def _visible(session: AsyncSession, actor: Actor, dataset_id: UUID) -> Dataset:
    dataset = await repository.find_visible(session, actor, dataset_id)
    if dataset is None:
        raise DatasetNotFound
    return dataset


async def _editable(session: AsyncSession, actor: Actor, dataset_id: UUID, action: Action) -> Dataset:
    dataset = await repository.find_visible(session, actor, dataset_id, lock=True)
    if dataset is None:
        raise DatasetNotFound
    await projects.require(session, actor, dataset.project_id, action)
    return dataset


async def _require_room(
    session: AsyncSession, project_id: UUID, received: Received, settings: Settings
) -> None:
    await quotas.require_room(
        session,
        project_id,
        Quota.DATASET_BYTES,
        usual=settings.quota_dataset_bytes,
        more=received.size_bytes,
    )


def _deed(action: str, dataset: Dataset, **details: Any) -> Deed:
    return Deed(
        action,
        "dataset",
        str(dataset.id),
        project_id=dataset.project_id,
        details={"name": dataset.name, **details},
    )


async def _version(session: AsyncSession, dataset: Dataset, number: int) -> DatasetVersion:
    version = await repository.find_version(session, dataset.id, number)
    if version is None:
        raise DatasetVersionNotFound(f"The dataset has versions 1 to {dataset.latest_version}, not {number}.")
    return version


async def keys_in_use(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Those of the keys of objects that a version refers to."""
    return await repository.keys_among(session, keys)


async def keys_after(session: AsyncSession, version_id: UUID | None, most: int) -> KeysOfVersions:
    return await repository.keys_after(session, version_id, most)
