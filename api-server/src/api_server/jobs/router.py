import asyncio
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse

from api_server.auth.actor import Actor
from api_server.auth.dependencies import allowed
from api_server.auth.errors import NotSignedIn
from api_server.auth.identity import again
from api_server.auth.permissions import Action
from api_server.database import AsyncSession, SessionDep, Sessions, SessionsDep, transaction
from api_server.jobs import service
from api_server.jobs.errors import JobNotFound
from api_server.jobs.schemas import JobFilter, JobOut, job_out
from api_server.pagination import Page, PageDep
from api_server.responses import problems, sends
from platform_kit.contract.artifact import canonical_json
from platform_kit.contract.jobs import JobKind, JobStatus
from platform_kit.contract.numbers import LARGEST_BIG_INTEGER

router = APIRouter(prefix="/jobs", tags=["jobs"])

Reader = Annotated[Actor, allowed(Action.JOB_READ)]
Canceller = Annotated[Actor, allowed(Action.JOB_CANCEL)]

POLL_SECONDS = 0.3
SILENCE_SECONDS = 15.0
"""A comment is sent this often, so that proxies do not end a quiet stream."""
_EVENT = {
    "description": "each event of the stream",
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "send the last one as `Last-Event-ID` to go on after it"},
        "event": {"type": "string", "enum": ["state", "progress", "log"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["id", "event", "data"],
}


def _filters(
    kind: JobKind | None = None, status: JobStatus | None = None, project_id: UUID | None = None
) -> JobFilter:
    return JobFilter(kind=kind, status=status, project_id=project_id)


@router.get("", name="list", summary="List jobs", responses=problems(401, 422))
async def list_jobs(
    session: SessionDep, actor: Reader, page: PageDep, filters: Annotated[JobFilter, Depends(_filters)]
) -> Page[JobOut]:
    rows = await service.list_jobs(session, actor, filters, page)
    items = [job_out(job, queue_position=await service.position(session, job)) for job in rows.items]
    return Page(items=items, next_cursor=rows.next_cursor, total=rows.total)


@router.get(
    "/{job_id}", summary="Read a job: status, progress, result or error", responses=problems(401, 404)
)
async def get(job_id: UUID, session: SessionDep, actor: Reader) -> JobOut:
    job = await service.get(session, actor, job_id)
    return job_out(job, queue_position=await service.position(session, job))


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    summary="Cancel a job",
    responses={**sends(202, "Location"), **problems(401, 403, 404, 409)},
)
async def cancel(
    job_id: UUID, request: Request, response: Response, session: SessionDep, actor: Canceller
) -> JobOut:
    job = await service.cancel(session, actor, job_id, request.state.handlers)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return job_out(job)


@router.get(
    "/{job_id}/events",
    summary="Follow a job: server-sent events `state`, `progress`, `log`",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": _EVENT}}}, **problems(401, 404)},
)
async def events(
    job_id: UUID,
    sessions: SessionsDep,
    actor: Reader,
    last_event_id: Annotated[
        int, Header(ge=0, le=LARGEST_BIG_INTEGER, description="resume after this event")
    ] = 0,
) -> StreamingResponse:
    async with transaction(sessions) as session:
        await service.get(session, actor, job_id)
    return StreamingResponse(
        _follow(sessions, actor, job_id, last_event_id),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _follow(sessions: Sessions, actor: Actor, job_id: UUID, last_id: int) -> AsyncIterator[bytes]:
    """Replay what has happened, then wait for more.

    Ends when the job is over and all was told, or when the actor may not see it any more.
    """
    quiet = 0.0
    while True:
        async with transaction(sessions) as session:
            if not await _may_follow(session, actor, job_id):
                return
            found, is_over = await service.news(session, job_id, last_id)
        for event in found:
            last_id = event.id
            yield (
                f"id: {event.id}\nevent: {event.type}\ndata: ".encode() + canonical_json(event.body) + b"\n\n"
            )
        if not found and is_over:
            return
        quiet = 0.0 if found else quiet + POLL_SECONDS
        if quiet >= SILENCE_SECONDS:
            quiet = 0.0
            yield b": still here\n\n"
        await asyncio.sleep(POLL_SECONDS)


async def _may_follow(session: AsyncSession, actor: Actor, job_id: UUID) -> bool:
    try:
        await service.get(session, await again(session, actor), job_id)
    except (NotSignedIn, JobNotFound):
        return False
    return True
