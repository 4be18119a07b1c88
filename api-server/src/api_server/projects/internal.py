"""Where ml-service asks who is calling and where that caller may read and predict, and says whom it refused.

It sits here and not in `auth` because the answer names projects.
"""

from fastapi import APIRouter, Depends, Request

from api_server.auth.errors import NotSignedIn
from api_server.auth.identity import Presented, identify
from api_server.auth.internal_access import require_internal
from api_server.database import SessionDep
from api_server.projects import service
from platform_kit.contract.access import Introspection, IntrospectionRequest, Principal, Refusals

router = APIRouter(
    prefix="/internal/access", dependencies=[Depends(require_internal)], include_in_schema=False
)


@router.post("/introspect")
async def introspect(body: IntrospectionRequest, request: Request, session: SessionDep) -> Introspection:
    try:
        actor = await identify(session, Presented(body.kind, body.credential), request.state.settings)
    except NotSignedIn:
        return Introspection(principal=None)
    return Introspection(
        principal=Principal(
            user_id=actor.user_id,
            username=actor.username,
            role=actor.role,
            credential_id=actor.credential_id,
            sees_all=actor.sees_all,
            project_ids=await service.reach(session, actor),
            scopes=sorted(actor.key.scopes) if actor.key else None,
            endpoint=actor.key.endpoint if actor.key else None,
            expires_at=actor.expires_at,
        )
    )


@router.post("/refusals", status_code=204)
async def refusals(body: Refusals, request: Request, session: SessionDep) -> None:
    service.note_refusals(session, body, request.state.refusals)
