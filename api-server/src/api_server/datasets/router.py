import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

import structlog
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from api_server.auth.actor import Actor
from api_server.auth.dependencies import allowed
from api_server.auth.permissions import Action
from api_server.database import AsyncSession, SessionDep, Sessions, SessionsDep, transaction
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
    preview_out,
    profile_out,
    project_of,
    version_out,
)
from api_server.datasets.upload import Announced, Expect, Received, receive
from api_server.idempotency import IdempotencyKey, fingerprint, once
from api_server.pagination import Page, PageDep
from api_server.preconditions import IfMatch, set_etag
from api_server.responses import problems, sends
from platform_kit.contract.numbers import VersionNumber
from platform_kit.contract.schema import FileType
from platform_kit.plumbing.object_store import ObjectStore, StorageUnavailable

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/datasets", tags=["datasets"])

Uploader = Annotated[Actor, allowed(Action.DATASET_CREATE)]
Reader = Annotated[Actor, allowed(Action.DATASET_READ)]
Changer = Annotated[Actor, allowed(Action.DATASET_CHANGE)]
Deleter = Annotated[Actor, allowed(Action.DATASET_DELETE)]

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
_FILE_PART = {
    "contentType": ", ".join(MEDIA_TYPES.values()),
    "headers": {
        "Content-Disposition": {
            "description": "the end of the file's name says what it is",
            "schema": {"type": "string"},
            "example": 'form-data; name="file"; filename="rows.csv"',
        }
    },
}
_TEXT = {"type": "string"}
_FILE_ANSWER: dict[str, Any] = {
    **sends(200, "ETag", "Content-Disposition")[200],
    "content": {each: {} for each in MEDIA_TYPES.values()},
}


def _form(**fields: dict[str, Any]) -> dict[str, Any]:
    """The form is read from the stream, so FastAPI cannot see it; this is what it is."""
    schema = {
        "type": "object",
        "properties": fields,
        "required": ["file", *(["name"] if "name" in fields else [])],
    }
    content = {"multipart/form-data": {"schema": schema, "encoding": {"file": _FILE_PART}}}
    return {"requestBody": {"required": True, "content": content}}


_DATASET_FORM = _form(
    file=_FILE,
    name={**_TEXT, "examples": ["customers"]},
    description=_TEXT,
    project_id={**_TEXT, "format": "uuid", "description": "left out: your personal project"},
    tags={**_TEXT, "description": "separated by commas, or the field repeated"},
)


@asynccontextmanager
async def _received(request: Request, expect: Expect) -> AsyncIterator[Received]:
    """The stored file; it is deleted again if anything goes wrong before the row that owns it is committed."""
    store: ObjectStore = request.state.store
    received = await receive(
        request, store, folder="datasets", max_bytes=request.state.settings.max_upload_bytes, expect=expect
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
    responses={**sends(201, "Location", "ETag"), **problems(400, 401, 403, 404, 409, 413, 415, 422, 503)},
)
async def create(
    request: Request,
    response: Response,
    sessions: SessionsDep,
    actor: Uploader,
    idempotency_key: IdempotencyKey = None,
) -> DatasetOut:
    settings = request.state.settings

    async def expect(announced: Announced) -> None:
        project_id = project_of(announced.fields)
        if project_id is None or idempotency_key is not None:
            return  # it is not known where the file goes, or the answer may be there already
        async with transaction(sessions) as session:
            await service.expect(session, actor, project_id, announced, settings)

    async with _received(request, expect) as received:
        form = form_of(received.fields)
        kept = False

        async def make(session: AsyncSession) -> DatasetOut:
            nonlocal kept
            kept = True
            dataset, version = await service.create(session, actor, form, received, settings)
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
    actor: Reader,
    page: PageDep,
    project_id: UUID | None = None,
    tag: str | None = None,
    q: Annotated[str | None, Query(description="text in the name or description")] = None,
) -> Page[DatasetOut]:
    rows = await service.list_datasets(session, actor, page, project_id=project_id, tag=tag, text=q)
    return Page(
        items=[dataset_out(*each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )


@router.get("/{dataset_id}", summary="Read a dataset", responses={**sends(200, "ETag"), **problems(401, 404)})
async def get(dataset_id: UUID, response: Response, session: SessionDep, actor: Reader) -> DatasetOut:
    dataset, version = await service.get(session, actor, dataset_id)
    set_etag(response, dataset.revision)
    return dataset_out(dataset, version)


@router.patch(
    "/{dataset_id}",
    summary="Rename or describe a dataset",
    responses={**sends(200, "ETag"), **problems(401, 403, 404, 412, 422)},
)
async def change(
    dataset_id: UUID,
    body: DatasetPatch,
    response: Response,
    session: SessionDep,
    actor: Changer,
    if_match: IfMatch,
) -> DatasetOut:
    dataset, version = await service.change(session, actor, dataset_id, body, if_match)
    set_etag(response, dataset.revision)
    return dataset_out(dataset, version)


@router.delete(
    "/{dataset_id}", status_code=204, summary="Delete a dataset", responses=problems(401, 403, 404, 409, 412)
)
async def delete(
    dataset_id: UUID, request: Request, sessions: SessionsDep, actor: Deleter, if_match: IfMatch
) -> None:
    async with transaction(sessions) as session:
        keys = await service.delete(session, actor, dataset_id, if_match, request.state.handlers)
    try:
        await asyncio.to_thread(request.state.store.delete, keys)
    except StorageUnavailable as error:
        # The dataset is gone; housekeeping deletes the objects that nothing refers to.
        log.warning("dataset.objects_left", dataset_id=str(dataset_id), objects=len(keys), error=str(error))


@router.post(
    "/{dataset_id}/versions",
    status_code=201,
    summary="Upload a new version; the same bytes answer 200 with the version that has them",
    openapi_extra=_form(file=_FILE),
    responses={
        200: {"model": VersionOut, **sends(200, "Location")[200]},
        **sends(201, "Location"),
        **problems(400, 401, 403, 404, 409, 413, 415, 422, 503),
    },
)
async def add_version(
    dataset_id: UUID, request: Request, response: Response, sessions: SessionsDep, actor: Uploader
) -> VersionOut:
    settings = request.state.settings

    async def expect(announced: Announced) -> None:
        async with transaction(sessions) as session:
            await service.expect_version(session, actor, dataset_id, announced, settings)

    async with _received(request, expect) as received, transaction(sessions) as session:
        _, version, is_new = await service.add_version(session, actor, dataset_id, received, settings)
    if not is_new:
        await asyncio.to_thread(request.state.store.delete, [received.key])
        response.status_code = 200
    response.headers["Location"] = f"/api/v1/datasets/{dataset_id}/versions/{version.version}"
    return version_out(version)


@router.get(
    "/{dataset_id}/versions", summary="List the versions of a dataset", responses=problems(401, 404, 422)
)
async def list_versions(
    dataset_id: UUID, session: SessionDep, actor: Reader, page: PageDep
) -> Page[VersionOut]:
    rows = await service.list_versions(session, actor, dataset_id, page)
    return Page(
        items=[version_out(each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )


@router.get("/{dataset_id}/versions/{version}", summary="Read a version", responses=problems(401, 404))
async def get_version(
    dataset_id: UUID, version: VersionNumber, session: SessionDep, actor: Reader
) -> VersionOut:
    _, found = await service.get_version(session, actor, dataset_id, version)
    return version_out(found)


@router.get(
    "/{dataset_id}/profile",
    summary="Schema and statistics of the newest version",
    responses=problems(401, 404, 409),
)
async def get_profile(dataset_id: UUID, session: SessionDep, actor: Reader) -> ProfileOut:
    return profile_out(*await service.get_ready(session, actor, dataset_id, None))


@router.get(
    "/{dataset_id}/versions/{version}/profile",
    summary="Schema and statistics of a version",
    responses=problems(401, 404, 409),
)
async def get_version_profile(
    dataset_id: UUID, version: VersionNumber, session: SessionDep, actor: Reader
) -> ProfileOut:
    return profile_out(*await service.get_ready(session, actor, dataset_id, version))


@router.get(
    "/{dataset_id}/preview", summary="First rows of the newest version", responses=problems(401, 404, 409)
)
async def get_preview(dataset_id: UUID, session: SessionDep, actor: Reader) -> PreviewOut:
    return preview_out(*await service.get_ready(session, actor, dataset_id, None))


@router.get(
    "/{dataset_id}/versions/{version}/preview",
    summary="First rows of a version",
    responses=problems(401, 404, 409),
)
async def get_version_preview(
    dataset_id: UUID, version: VersionNumber, session: SessionDep, actor: Reader
) -> PreviewOut:
    return preview_out(*await service.get_ready(session, actor, dataset_id, version))


@router.get(
    "/{dataset_id}/download",
    summary="The file of the newest version, as it was uploaded",
    response_class=StreamingResponse,
    responses={200: _FILE_ANSWER, **problems(401, 404)},
)
async def download(
    dataset_id: UUID, request: Request, sessions: SessionsDep, actor: Reader
) -> StreamingResponse:
    return await _file(request, sessions, actor, dataset_id, None)


@router.get(
    "/{dataset_id}/versions/{version}/download",
    summary="The file of a version, as it was uploaded",
    response_class=StreamingResponse,
    responses={200: _FILE_ANSWER, **problems(401, 404)},
)
async def download_version(
    dataset_id: UUID, version: VersionNumber, request: Request, sessions: SessionsDep, actor: Reader
) -> StreamingResponse:
    return await _file(request, sessions, actor, dataset_id, version)


async def _file(
    request: Request, sessions: Sessions, actor: Actor, dataset_id: UUID, version: int | None
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
