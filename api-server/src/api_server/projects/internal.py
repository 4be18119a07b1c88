"""Where ml-service asks who is calling, and where that caller may read and predict.

It sits here and not in `auth` because the answer names projects.
"""

from fastapi import APIRouter, Depends, Request

from api_server.auth import service as auth
from api_server.auth.errors import NotSignedIn
from api_server.auth.internal_access import require_internal
from api_server.database import SessionDep
from api_server.projects import service
from platform_kit.contract.access import CredentialKind, Introspection, IntrospectionRequest, Principal

router = APIRouter(
    prefix="/internal/access", dependencies=[Depends(require_internal)], include_in_schema=False
)


@router.post("/introspect")
async def introspect(body: IntrospectionRequest, request: Request, session: SessionDep) -> Introspection:
    if body.kind is not CredentialKind.BEARER:
        return Introspection(principal=None)
    try:
        actor = await auth.identify(session, body.credential, request.state.settings)
    except NotSignedIn:
        return Introspection(principal=None)
    return Introspection(
        principal=Principal(
            user_id=actor.user_id,
            username=actor.username,
            role=actor.role,
            project_ids=await service.memberships(session, actor.user_id),
            expires_at=actor.expires_at,
        )
    )
