"""What workers call. nginx never routes `/internal`, and each call shows the internal token."""

from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from api_server.auth.internal_access import require_internal
from api_server.database import SessionDep
from api_server.jobs import service
from api_server.jobs.errors import NothingToClaim
from platform_kit.contract.jobs import Claim, ClaimRequest, Finish, Heartbeat, HeartbeatReply
from platform_kit.plumbing.problems import problem_response

router = APIRouter(prefix="/internal/jobs", dependencies=[Depends(require_internal)], include_in_schema=False)


@router.post("/{job_id}/claim", response_model=Claim)
async def claim(job_id: UUID, body: ClaimRequest, request: Request, session: SessionDep) -> Claim | Response:
    claimed = await service.claim(
        session, job_id, worker=body.worker, handlers=request.state.handlers, settings=request.state.settings
    )
    if claimed is None:
        # An answer, not an exception: raising would roll back the job's failure.
        return problem_response(
            request, NothingToClaim("The job could not be run; its error says why.").as_detail()
        )
    return claimed


@router.post("/{job_id}/heartbeat")
async def heartbeat(job_id: UUID, body: Heartbeat, request: Request, session: SessionDep) -> HeartbeatReply:
    lease_seconds = request.state.settings.job_lease_seconds
    cancel_requested = await service.heartbeat(session, job_id, body, lease_seconds=lease_seconds)
    return HeartbeatReply(cancel_requested=cancel_requested, lease_seconds=lease_seconds)


@router.post("/{job_id}/finish")
async def finish(job_id: UUID, body: Finish, request: Request, session: SessionDep) -> dict[str, str]:
    job = await service.finish(session, job_id, body, handlers=request.state.handlers)
    return {"status": job.status}
