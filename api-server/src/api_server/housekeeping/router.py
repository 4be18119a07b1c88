from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api_server.auth.actor import Actor
from api_server.auth.dependencies import allowed
from api_server.auth.permissions import Action
from api_server.database import SessionDep
from api_server.housekeeping import service
from api_server.housekeeping.chores import CHORES
from api_server.housekeeping.schemas import ChoreList, ChoreOut, last_job
from api_server.jobs.schemas import JobOut, job_out
from api_server.responses import problems, sends

router = APIRouter(prefix="/housekeeping", tags=["housekeeping"])

Reader = Annotated[Actor, allowed(Action.HOUSEKEEPING_READ)]
Starter = Annotated[Actor, allowed(Action.HOUSEKEEPING_START)]


@router.get(
    "", name="list", summary="What is done at times, and what came of it last", responses=problems(401, 403)
)
async def list_chores(request: Request, session: SessionDep, actor: Reader) -> ChoreList:
    last = await service.last_jobs(session)
    items = [
        ChoreOut(
            name=name,
            does=chore.does,
            interval_seconds=chore.interval_seconds(request.state.settings),
            last_job=last_job(last.get(name)),
        )
        for name, chore in CHORES.items()
    ]
    return ChoreList(items=items, total=len(items))


@router.post(
    "/{chore}",
    status_code=202,
    name="start",
    summary="Do it now, not only when its time comes",
    responses={**sends(202, "Location"), **problems(401, 403, 404, 409)},
)
async def start(
    chore: Annotated[str, Path(max_length=100, examples=list(CHORES))],
    request: Request,
    response: Response,
    session: SessionDep,
    actor: Starter,
) -> JobOut:
    job = await service.start_for(session, actor, chore, request.state.settings)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return job_out(job)
