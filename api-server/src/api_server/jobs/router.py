from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from api_server.auth.actor import Actor
from api_server.auth.dependencies import allowed
from api_server.auth.permissions import Action
from api_server.database import SessionDep, SessionsDep, transaction
from api_server.idempotency import IdempotencyKey, fingerprint, once
from api_server.jobs import service
from api_server.jobs.schemas import (
    AttemptList,
    JobFilter,
    JobOut,
    JobPatch,
    LogPage,
    attempt_out,
    job_out,
    log_line_out,
)
from api_server.jobs.stream import follow
from api_server.pagination import Page, PageDep
from api_server.responses import problems, sends
from platform_kit.contract.jobs import JobKind, JobStatus, Queue
from platform_kit.contract.moments import Moment
from platform_kit.contract.numbers import LARGEST_BIG_INTEGER

router = APIRouter(prefix="/jobs", tags=["jobs"])

Reader = Annotated[Actor, allowed(Action.JOB_READ)]
Canceller = Annotated[Actor, allowed(Action.JOB_CANCEL)]
Retrier = Annotated[Actor, allowed(Action.JOB_RETRY)]
Prioritizer = Annotated[Actor, allowed(Action.JOB_PRIORITIZE)]

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
    kind: JobKind | None = None,
    status: JobStatus | None = None,
    queue: Queue | None = None,
    project_id: UUID | None = None,
    model_id: UUID | None = None,
    dataset_id: UUID | None = None,
    created_by: UUID | None = None,
    error_code: Annotated[str | None, Query(max_length=100, examples=["timeout"])] = None,
    since: Annotated[Moment | None, Query(description="submitted then or later")] = None,
    until: Annotated[Moment | None, Query(description="submitted before")] = None,
) -> JobFilter:
    return JobFilter(
        kind=kind,
        status=status,
        queue=queue,
        project_id=project_id,
        model_id=model_id,
        dataset_id=dataset_id,
        created_by=created_by,
        error_code=error_code,
        since=since,
        until=until,
    )


@router.get("", name="list", summary="List jobs", responses=problems(401, 422))
async def list_jobs(
    session: SessionDep, actor: Reader, page: PageDep, filters: Annotated[JobFilter, Depends(_filters)]
) -> Page[JobOut]:
    rows = await service.list_jobs(session, actor, filters, page)
    places = await service.places(session, rows.items)
    items = [job_out(job, places) for job in rows.items]
    return Page(items=items, next_cursor=rows.next_cursor, total=rows.total)


@router.get(
    "/{job_id}", summary="Read a job: status, progress, result or error", responses=problems(401, 404)
)
async def get(job_id: UUID, session: SessionDep, actor: Reader) -> JobOut:
    job = await service.get(session, actor, job_id)
    return job_out(job, await service.places(session, [job]))


@router.patch(
    "/{job_id}",
    name="prioritize",
    summary="Let a waiting job go before others of its project",
    responses=problems(401, 403, 404, 409, 422),
)
async def prioritize(job_id: UUID, body: JobPatch, session: SessionDep, actor: Prioritizer) -> JobOut:
    job = await service.change_priority(session, actor, job_id, body.priority)
    return job_out(job, await service.places(session, [job]))


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


@router.post(
    "/{job_id}/retry",
    status_code=202,
    name="retry",
    summary="Do a failed or cancelled job again, as a new job",
    responses={**sends(202, "Location"), **problems(401, 403, 404, 409, 422, 429)},
)
async def retry(
    job_id: UUID,
    request: Request,
    response: Response,
    session: SessionDep,
    actor: Retrier,
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    async def make() -> JobOut:
        state = request.state
        return job_out(await service.retry(session, actor, job_id, state.handlers, state.settings))

    out = await once(
        session,
        user_id=actor.user_id,
        key=idempotency_key,
        same=fingerprint(request, None),
        shape=JobOut,
        make=make,
    )
    response.headers["Location"] = f"/api/v1/jobs/{out.id}"
    return out


@router.get(
    "/{job_id}/attempts",
    summary="List a job's attempts, and why each ended",
    responses=problems(401, 404),
)
async def attempts(job_id: UUID, session: SessionDep, actor: Reader) -> AttemptList:
    found = await service.attempts(session, actor, job_id)
    return AttemptList(items=[attempt_out(each) for each in found], total=len(found))


@router.get("/{job_id}/logs", summary="Read a job's log, and go on reading it", responses=problems(401, 404))
async def logs(
    job_id: UUID,
    session: SessionDep,
    actor: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: Annotated[
        int, Query(ge=0, le=LARGEST_BIG_INTEGER, description="`next_cursor` of the answer before")
    ] = 0,
) -> LogPage:
    found, is_all = await service.log_lines(session, actor, job_id, cursor, most=limit)
    last_id = found[-1].id if found else cursor
    return LogPage(items=[log_line_out(each) for each in found], next_cursor=None if is_all else str(last_id))


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
        follow(sessions, actor, job_id, last_event_id),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
