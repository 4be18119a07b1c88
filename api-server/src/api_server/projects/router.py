from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from api_server.auth.dependencies import CurrentActor, MakerActor
from api_server.database import SessionDep
from api_server.idempotency import IdempotencyKey, fingerprint, once
from api_server.pagination import Page, PageDep
from api_server.preconditions import IfMatch, set_etag
from api_server.projects import service
from api_server.projects.models import ProjectStatus
from api_server.projects.schemas import ProjectFilter, ProjectIn, ProjectOut, ProjectPatch, project_out
from api_server.responses import problems

router = APIRouter(prefix="/projects", tags=["projects"])


def _filters(
    status: ProjectStatus | None = None,
    tag: str | None = None,
    q: Annotated[str | None, Query(description="text in the name or description")] = None,
) -> ProjectFilter:
    return ProjectFilter(status=status, tag=tag, text=q)


@router.post("", status_code=201, summary="Create a project", responses=problems(401, 403, 409, 422))
async def create(
    body: ProjectIn,
    request: Request,
    response: Response,
    session: SessionDep,
    actor: MakerActor,
    idempotency_key: IdempotencyKey = None,
) -> ProjectOut:
    async def make() -> ProjectOut:
        return project_out(*await service.create(session, actor, body))

    out = await once(
        session,
        user_id=actor.user_id,
        key=idempotency_key,
        same=fingerprint(request, body),
        shape=ProjectOut,
        make=make,
    )
    response.headers["Location"] = f"/api/v1/projects/{out.id}"
    set_etag(response, 1)
    return out


@router.get("", name="list", summary="List projects", responses=problems(401, 422))
async def list_projects(
    session: SessionDep,
    actor: CurrentActor,
    page: PageDep,
    filters: Annotated[ProjectFilter, Depends(_filters)],
) -> Page[ProjectOut]:
    rows = await service.list_projects(session, actor, filters, page)
    return Page(
        items=[project_out(*each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )


@router.get("/{project_id}", summary="Read a project", responses=problems(401, 404))
async def get(project_id: UUID, response: Response, session: SessionDep, actor: CurrentActor) -> ProjectOut:
    project, role = await service.get(session, actor, project_id)
    set_etag(response, project.revision)
    return project_out(project, role)


@router.patch("/{project_id}", summary="Change a project", responses=problems(401, 403, 404, 409, 412, 422))
async def change(
    project_id: UUID,
    body: ProjectPatch,
    response: Response,
    session: SessionDep,
    actor: CurrentActor,
    if_match: IfMatch,
) -> ProjectOut:
    project, role = await service.change(session, actor, project_id, body, if_match)
    set_etag(response, project.revision)
    return project_out(project, role)


@router.delete(
    "/{project_id}", status_code=204, summary="Delete a project", responses=problems(401, 403, 404, 409, 412)
)
async def delete(project_id: UUID, session: SessionDep, actor: CurrentActor, if_match: IfMatch) -> None:
    await service.delete(session, actor, project_id, if_match)
