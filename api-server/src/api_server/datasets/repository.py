from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.auth.actor import Actor
from api_server.datasets.models import Dataset, DatasetVersion
from api_server.pagination import PageParams, Rows, fetch_page
from api_server.projects.access import visible_to

KeysOfVersions = Sequence[tuple[UUID, list[str]]]


async def find_visible(
    session: AsyncSession, actor: Actor, dataset_id: UUID, *, lock: bool = False
) -> Dataset | None:
    statement = select(Dataset).where(Dataset.id == dataset_id, visible_to(actor, Dataset.project_id))
    if lock:
        # Rows that refer to it may still be added: whoever adds one may hold the project that this waits for.
        statement = statement.with_for_update(key_share=True)
    return await session.scalar(statement)


async def find(session: AsyncSession, dataset_id: UUID) -> Dataset | None:
    return await session.get(Dataset, dataset_id)


async def has_version_between(
    session: AsyncSession, dataset_id: UUID, least_bytes: int, most_bytes: int
) -> bool:
    statement = select(DatasetVersion.id).where(
        DatasetVersion.dataset_id == dataset_id, DatasetVersion.size_bytes.between(least_bytes, most_bytes)
    )
    return await session.scalar(statement.limit(1)) is not None


async def find_version(session: AsyncSession, dataset_id: UUID, version: int) -> DatasetVersion | None:
    return await session.scalar(
        select(DatasetVersion).where(
            DatasetVersion.dataset_id == dataset_id, DatasetVersion.version == version
        )
    )


async def find_version_by_id(session: AsyncSession, version_id: UUID) -> DatasetVersion | None:
    return await session.get(DatasetVersion, version_id)


async def hold_version(session: AsyncSession, version_id: UUID) -> DatasetVersion | None:
    """As it is, and stays until this transaction ends."""
    return await session.scalar(
        select(DatasetVersion)
        .where(DatasetVersion.id == version_id)
        .with_for_update(read=True)
        .execution_options(populate_existing=True)
    )


async def find_same_bytes(session: AsyncSession, dataset_id: UUID, sha256: str) -> DatasetVersion | None:
    return await session.scalar(
        select(DatasetVersion)
        .where(DatasetVersion.dataset_id == dataset_id, DatasetVersion.sha256 == sha256)
        .order_by(DatasetVersion.version)
        .limit(1)
    )


async def newest_versions(session: AsyncSession, datasets: Sequence[Dataset]) -> dict[UUID, DatasetVersion]:
    found = await session.scalars(
        select(DatasetVersion)
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
        .where(
            DatasetVersion.dataset_id.in_([each.id for each in datasets]),
            DatasetVersion.version == Dataset.latest_version,
        )
    )
    return {each.dataset_id: each for each in found}


async def list_versions(session: AsyncSession, dataset_id: UUID, params: PageParams) -> Rows[DatasetVersion]:
    statement = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id)
    sortable = {"created_at": DatasetVersion.created_at, "version": DatasetVersion.version}
    return await fetch_page(session, statement, params, sortable=sortable, id_column=DatasetVersion.id)


async def version_ids(session: AsyncSession, dataset_id: UUID) -> list[UUID]:
    found = await session.scalars(select(DatasetVersion.id).where(DatasetVersion.dataset_id == dataset_id))
    return list(found)


async def all_keys(session: AsyncSession, dataset_id: UUID) -> list[str]:
    found = await session.scalars(select(DatasetVersion.key).where(DatasetVersion.dataset_id == dataset_id))
    return list(found)


async def list_visible(
    session: AsyncSession,
    actor: Actor,
    params: PageParams,
    *,
    project_id: UUID | None,
    tag: str | None,
    text: str | None,
) -> Rows[Dataset]:
    statement = select(Dataset).where(visible_to(actor, Dataset.project_id))
    if project_id is not None:
        statement = statement.where(Dataset.project_id == project_id)
    if tag is not None:
        statement = statement.where(Dataset.tags.contains([tag]))
    if text is not None:
        found = func.lower(text)
        statement = statement.where(
            or_(
                func.strpos(func.lower(Dataset.name), found) > 0,
                func.strpos(func.lower(Dataset.description), found) > 0,
            )
        )
    sortable = {"created_at": Dataset.created_at, "name": Dataset.name}
    return await fetch_page(session, statement, params, sortable=sortable, id_column=Dataset.id)


async def keys_among(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Those of the keys under which a version's bytes are."""
    return set(await session.scalars(select(DatasetVersion.key).where(DatasetVersion.key.in_(keys))))


async def keys_after(session: AsyncSession, version_id: UUID | None, most: int) -> KeysOfVersions:
    """Versions in the order of their ids, with the keys that each refers to."""
    statement = select(DatasetVersion.id, DatasetVersion.key).order_by(DatasetVersion.id).limit(most)
    if version_id is not None:
        statement = statement.where(DatasetVersion.id > version_id)
    return [(found_id, [key]) for found_id, key in (await session.execute(statement)).all()]
