from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, String, exists, func, literal_column, select
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.auth.actor import Actor
from api_server.pagination import PageParams, Rows, fetch_page
from api_server.projects.access import visible_to
from api_server.registry.models import Model, ModelStatus, ModelVersion
from api_server.registry.schemas import ModelFilter

KeysOfVersions = Sequence[tuple[UUID, list[str]]]


async def find_visible(
    session: AsyncSession, actor: Actor, model_id: UUID, *, lock: bool = False
) -> Model | None:
    statement = select(Model).where(Model.id == model_id, visible_to(actor, Model.project_id))
    if lock:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    return await session.scalar(statement)


async def lock(session: AsyncSession, model_id: UUID) -> Model | None:
    return await session.scalar(
        select(Model).where(Model.id == model_id).with_for_update().execution_options(populate_existing=True)
    )


async def find_by_endpoint(session: AsyncSession, endpoint: str) -> Model | None:
    return await session.scalar(select(Model).where(Model.endpoint == endpoint))


async def find_by_id(session: AsyncSession, model_id: UUID) -> Model | None:
    return await session.get(Model, model_id)


async def endpoints_like(session: AsyncSession, slug: str) -> set[str]:
    found = await session.scalars(select(Model.endpoint).where(func.starts_with(Model.endpoint, slug)))
    return set(found)


async def list_visible(
    session: AsyncSession, actor: Actor, filters: ModelFilter, params: PageParams
) -> Rows[Model]:
    statement = select(Model).where(visible_to(actor, Model.project_id))
    if filters.project_id is not None:
        statement = statement.where(Model.project_id == filters.project_id)
    if filters.framework is not None:
        statement = statement.where(Model.framework == filters.framework)
    if filters.name is not None:
        statement = statement.where(Model.name == filters.name)
    if filters.status is not None:
        statement = statement.where(*_has_status(filters.status))
    sortable = {"created_at": Model.created_at, "name": Model.name}
    return await fetch_page(session, statement, params, sortable=sortable, id_column=Model.id)


def _has_status(status: ModelStatus) -> list[ColumnElement[bool]]:
    """`deployed` is not stored: it is `trained`, with the newest version deployed."""
    newest_is_deployed = Model.deployed_version.is_not_distinct_from(Model.latest_version)
    if status is ModelStatus.DEPLOYED:
        return [Model.status == ModelStatus.TRAINED, newest_is_deployed]
    if status is ModelStatus.TRAINED:
        return [Model.status == ModelStatus.TRAINED, ~newest_is_deployed]
    return [Model.status == status]


async def newest_versions(session: AsyncSession, models: Sequence[Model]) -> dict[UUID, ModelVersion]:
    found = await session.scalars(
        select(ModelVersion)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(
            ModelVersion.model_id.in_([each.id for each in models]),
            ModelVersion.version == Model.latest_version,
        )
    )
    return {each.model_id: each for each in found}


async def find_version(session: AsyncSession, model_id: UUID, version: int) -> ModelVersion | None:
    return await session.scalar(
        select(ModelVersion).where(ModelVersion.model_id == model_id, ModelVersion.version == version)
    )


async def find_version_of_job(session: AsyncSession, job_id: UUID) -> ModelVersion | None:
    return await session.scalar(select(ModelVersion).where(ModelVersion.job_id == job_id))


async def list_versions(session: AsyncSession, model_id: UUID, params: PageParams) -> Rows[ModelVersion]:
    statement = select(ModelVersion).where(ModelVersion.model_id == model_id)
    sortable = {"created_at": ModelVersion.created_at, "version": ModelVersion.version}
    return await fetch_page(session, statement, params, sortable=sortable, id_column=ModelVersion.id)


async def keys_among(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Those of the keys under which a version's manifest is, or a file that the manifest names."""
    manifests = await session.scalars(
        select(ModelVersion.manifest_key).where(ModelVersion.manifest_key.in_(keys))
    )
    asked = func.unnest(array(keys, type_=String)).column_valued("asked")
    named = func.jsonb_build_array(func.jsonb_build_object("key", asked))
    # As the index has it: with a subscript in place of the arrow it would not be used.
    have = ModelVersion.manifest.op("->")(literal_column("'files'"))
    files = await session.scalars(select(asked).where(exists().where(have.op("@>")(named))))
    return {*manifests, *files}


async def keys_after(session: AsyncSession, version_id: UUID | None, most: int) -> KeysOfVersions:
    """Versions in the order of their ids, with the keys that each refers to."""
    statement = select(ModelVersion.id, ModelVersion.manifest_key, ModelVersion.manifest["files"])
    statement = statement.order_by(ModelVersion.id).limit(most)
    if version_id is not None:
        statement = statement.where(ModelVersion.id > version_id)
    found = (await session.execute(statement)).all()
    return [(each, [key, *(file["key"] for file in files)]) for each, key, files in found]
