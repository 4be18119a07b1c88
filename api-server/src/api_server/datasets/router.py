import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from api_server.auth.dependencies import CurrentActor, MakerActor
from api_server.database import AsyncSession, SessionDep, SessionsDep, transaction
from api_server.datasets import service
from api_server.datasets.models import DatasetVersion
from api_server.datasets.schemas import (
    DatasetOut,
    DatasetPatch,
    PreviewOut,
    ProfileOut,
    VersionOut,
    dataset_out,
    form_of,
    version_out,
)
from api_server.datasets.upload import Received, receive
from api_server.idempotency import IdempotencyKey, fingerprint, once
from api_server.pagination import Page, PageDep
from api_server.preconditions import IfMatch, set_etag
from api_server.responses import problems
from platform_kit.contract.schema import FileType
from platform_kit.plumbing.object_store import ObjectStore

router = APIRouter(prefix="/datasets", tags=["datasets"])

MEDIA_TYPES = {
    FileType.CSV: "text/csv",
    FileType.JSON: "application/json",
    FileType.PARQUET: "application/vnd.apache.parquet",
}
_FILE = {
    "type": "string",
    "format": "binary",
    "description": "CSV, JSON (an array, or a row a line) or Parquet",
}
_TEXT = {"type": "string"}


def _form(**fields: dict[str, Any]) -> dict[str, Any]:
    """The form is read from the stream, so FastAPI cannot see it; this is what it is."""
    schema = {
        "type": "object",
        "properties": fields,
        "required": ["file", *(["name"] if "name" in fields else [])],
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


_DATASET_FORM = _form(
    file=_FILE,
    name={**_TEXT, "examples": ["customers"]},
    description=_TEXT,
    project_id={**_TEXT, "format": "uuid", "description": "left out: your personal project"},
    tags={**_TEXT, "description": "separated by commas, or the field repeated"},
)


@asynccontextmanager
async def _received(request: Request) -> AsyncIterator[Received]:
    """The stored file; it is deleted again if anything goes wrong before the row that owns it is committed."""
    store: ObjectStore = request.state.store
    received = await receive(
        request, store, folder="datasets", max_bytes=request.state.settings.max_upload_bytes
    )
    try:
        yield received
    except BaseException:
        await asyncio.to_thread(store.delete, [received.key])
        raise


@router.post(
    "",
    status_code=201,
    summary="Upload a dataset",
    openapi_extra=_DATASET_FORM,
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 503),
)
async def create(
    request: Request,
    response: Response,
    sessions: SessionsDep,
    actor: MakerActor,
    idempotency_key: IdempotencyKey = None,
) -> DatasetOut:
    async with _received(request) as received:
        form = form_of(received.fields)
        kept = False

        async def make(session: AsyncSession) -> DatasetOut:
            nonlocal kept
            kept = True
            dataset, version = await service.create(session, actor, form, received, request.state.settings)
            return dataset_out(dataset, version)

        async with transaction(sessions) as session:
            out = await once(
                session,
                user_id=actor.user_id,
                key=idempotency_key,
                same=fingerprint(
                    request, [form.model_dump(mode="json"), received.sha256, received.file_name]
                ),
                shape=DatasetOut,
                make=lambda: make(session),
            )
    if not kept:
        await asyncio.to_thread(request.state.store.delete, [received.key])
    response.headers["Location"] = f"/api/v1/datasets/{out.id}"
    set_etag(response, 1)
    return out


@router.get("", name="list", summary="List datasets", responses=problems(401, 422))
async def list_datasets(
    session: SessionDep,
    actor: CurrentActor,
    page: PageDep,
    project_id: UUID | None = None,
    tag: str | None = None,
    q: Annotated[str | None, Query(description="text in the name or description")] = None,
) -> Page[DatasetOut]:
    rows = await service.list_datasets(session, actor, page, project_id=project_id, tag=tag, text=q)
    return Page(
        items=[dataset_out(*each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )


@router.get("/{dataset_id}", summary="Read a dataset", responses=problems(401, 404))
async def get(dataset_id: UUID, response: Response, session: SessionDep, actor: CurrentActor) -> DatasetOut:
    dataset, version = await service.get(session, actor, dataset_id)
    set_etag(response, dataset.revision)
    return dataset_out(dataset, version)


@router.patch(
    "/{dataset_id}", summary="Rename or describe a dataset", responses=problems(401, 403, 404, 412, 422)
)
async def change(
    dataset_id: UUID,
    body: DatasetPatch,
    response: Response,
    session: SessionDep,
    actor: CurrentActor,
    if_match: IfMatch,
) -> DatasetOut:
    dataset, version = await service.change(session, actor, dataset_id, body, if_match)
    set_etag(response, dataset.revision)
    return dataset_out(dataset, version)


@router.delete(
    "/{dataset_id}", status_code=204, summary="Delete a dataset", responses=problems(401, 403, 404, 409, 412)
)
async def delete(
    dataset_id: UUID, request: Request, sessions: SessionsDep, actor: CurrentActor, if_match: IfMatch
) -> None:
    async with transaction(sessions) as session:
        keys = await service.delete(session, actor, dataset_id, if_match)
    await asyncio.to_thread(request.state.store.delete, keys)


@router.post(
    "/{dataset_id}/versions",
    status_code=201,
    summary="Upload a new version; the same bytes answer 200 with the version that has them",
    openapi_extra=_form(file=_FILE),
    responses={200: {"model": VersionOut}, **problems(400, 401, 403, 404, 413, 415, 422, 503)},
)
async def add_version(
    dataset_id: UUID, request: Request, response: Response, sessions: SessionsDep, actor: MakerActor
) -> VersionOut:
    async with _received(request) as received, transaction(sessions) as session:
        _, version, is_new = await service.add_version(
            session, actor, dataset_id, received, request.state.settings
        )
    if not is_new:
        await asyncio.to_thread(request.state.store.delete, [received.key])
        response.status_code = 200
    response.headers["Location"] = f"/api/v1/datasets/{dataset_id}/versions/{version.version}"
    return version_out(version)


@router.get(
    "/{dataset_id}/versions", summary="List the versions of a dataset", responses=problems(401, 404, 422)
)
async def list_versions(
    dataset_id: UUID, session: SessionDep, actor: CurrentActor, page: PageDep
) -> Page[VersionOut]:
    rows = await service.list_versions(session, actor, dataset_id, page)
    return Page(
        items=[version_out(each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )


@router.get("/{dataset_id}/versions/{version}", summary="Read a version", responses=problems(401, 404))
async def get_version(dataset_id: UUID, version: int, session: SessionDep, actor: CurrentActor) -> VersionOut:
    _, found = await service.get_version(session, actor, dataset_id, version)
    return version_out(found)


@router.get(
    "/{dataset_id}/profile",
    summary="Schema and statistics of the newest version",
    responses=problems(401, 404, 409),
)
@router.get(
    "/{dataset_id}/versions/{version}/profile",
    name="get_version_profile",
    summary="Schema and statistics of a version",
    responses=problems(401, 404, 409),
)
async def get_profile(
    dataset_id: UUID, session: SessionDep, actor: CurrentActor, version: int | None = None
) -> ProfileOut:
    dataset, found = await service.get_ready(session, actor, dataset_id, version)
    return ProfileOut.model_validate(
        {
            "dataset_id": dataset.id,
            "version": found.version,
            "columns": found.columns,
            "statistics": found.statistics,
        }
    )


@router.get(
    "/{dataset_id}/preview", summary="First rows of the newest version", responses=problems(401, 404, 409)
)
@router.get(
    "/{dataset_id}/versions/{version}/preview",
    name="get_version_preview",
    summary="First rows of a version",
    responses=problems(401, 404, 409),
)
async def get_preview(
    dataset_id: UUID, session: SessionDep, actor: CurrentActor, version: int | None = None
) -> PreviewOut:
    dataset, found = await service.get_ready(session, actor, dataset_id, version)
    return PreviewOut(dataset_id=dataset.id, version=found.version, rows=found.preview or [])


@router.get(
    "/{dataset_id}/download",
    summary="The file of the newest version, as it was uploaded",
    response_class=StreamingResponse,
    responses=problems(401, 404),
)
@router.get(
    "/{dataset_id}/versions/{version}/download",
    name="download_version",
    summary="The file of a version, as it was uploaded",
    response_class=StreamingResponse,
    responses=problems(401, 404),
)
async def download(
    dataset_id: UUID, request: Request, sessions: SessionsDep, actor: CurrentActor, version: int | None = None
) -> StreamingResponse:
    async with transaction(sessions) as session:
        _, found = await service.get_version(session, actor, dataset_id, version)
    return StreamingResponse(
        request.state.store.stream(found.key),
        media_type=MEDIA_TYPES[FileType(found.file_type)],
        headers=_download_headers(found),
    )


def _download_headers(version: DatasetVersion) -> dict[str, str]:
    return {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(version.file_name, safe='')}",
        "Content-Length": str(version.size_bytes),
        "X-Content-Type-Options": "nosniff",
        "ETag": f'"{version.sha256}"',
    }
