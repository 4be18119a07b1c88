"""What workers call. nginx never routes `/internal`, and each call shows the internal token."""

from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from api_server.auth.internal_access import require_internal
from api_server.database import SessionDep
from api_server.jobs import leases
from platform_kit.contract.jobs import Claim, ClaimRequest, Finish, Heartbeat, HeartbeatReply, Queue

router = APIRouter(prefix="/internal", dependencies=[Depends(require_internal)], include_in_schema=False)


@router.post("/queues/{queue}/claim", response_model=Claim)
async def claim(queue: Queue, body: ClaimRequest, request: Request, session: SessionDep) -> Claim | Response:
    handlers, settings = request.state.handlers, request.state.settings
    claimed = await leases.claim(session, queue, worker=body.worker, handlers=handlers, settings=settings)
    return claimed or Response(status_code=204)


@router.post("/jobs/{job_id}/heartbeat")
async def heartbeat(job_id: UUID, body: Heartbeat, request: Request, session: SessionDep) -> HeartbeatReply:
    lease_seconds = request.state.settings.job_lease_seconds
    cancel_requested = await leases.heartbeat(session, job_id, body, lease_seconds=lease_seconds)
    return HeartbeatReply(cancel_requested=cancel_requested, lease_seconds=lease_seconds)


@router.post("/jobs/{job_id}/finish")
async def finish(job_id: UUID, body: Finish, request: Request, session: SessionDep) -> dict[str, str]:
    job = await leases.finish(session, job_id, body, handlers=request.state.handlers)
    return {"status": job.status}
