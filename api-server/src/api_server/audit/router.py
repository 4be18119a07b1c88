from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from api_server.audit import service
from api_server.audit.schemas import AuditFilter, AuditOut, audit_out
from api_server.auth.actor import Actor
from api_server.auth.dependencies import allowed
from api_server.auth.permissions import Action, PlatformDeed
from api_server.database import SessionDep
from api_server.pagination import Page, PageDep
from api_server.responses import problems
from platform_kit.contract.moments import Moment

router = APIRouter(prefix="/audit", tags=["audit"])

Auditor = Annotated[Actor, allowed(Action.AUDIT_READ)]
Text = Annotated[str | None, Query(max_length=200)]


def _filters(  # each is a query parameter
    user_id: UUID | None = None,
    action: Annotated[Action | PlatformDeed | None, Query(description="what was done")] = None,
    outcome: Literal["done", "refused"] | None = None,
    object_id: Text = None,
    project_id: UUID | None = None,
    address: Text = None,
    request_id: Text = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> AuditFilter:
    return AuditFilter(**locals())


@router.get("", name="list", summary="Who did what, or was refused", responses=problems(401, 403, 422))
async def list_entries(
    session: SessionDep, actor: Auditor, page: PageDep, filters: Annotated[AuditFilter, Depends(_filters)]
) -> Page[AuditOut]:
    rows = await service.list_entries(session, actor, filters, page)
    return Page(
        items=[audit_out(each) for each in rows.items], next_cursor=rows.next_cursor, total=rows.total
    )
