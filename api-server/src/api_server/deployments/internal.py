"""What the replicas of ml-service call."""

from fastapi import APIRouter, Depends, Query

from api_server.auth.internal_access import require_internal
from api_server.database import SessionDep
from api_server.deployments import sync
from api_server.registry.errors import ModelNotFound
from platform_kit.contract.serving import ModelLookup, ReplicaReport, ServingState

router = APIRouter(
    prefix="/internal/serving", dependencies=[Depends(require_internal)], include_in_schema=False
)


@router.post("/sync", name="sync")
async def report(body: ReplicaReport, session: SessionDep) -> ServingState:
    return await sync.sync(session, body)


@router.get("/models/{ref}", name="look_up")
async def look_up(
    ref: str, session: SessionDep, version: int | None = Query(default=None, ge=1)
) -> ModelLookup:
    found = await sync.look_up(session, ref, version)
    if found is None:
        raise ModelNotFound
    return found
