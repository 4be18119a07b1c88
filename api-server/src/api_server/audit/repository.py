from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.audit.schemas import AuditFilter
from api_server.audit_trail import AuditEntry
from api_server.auth.actor import Actor
from api_server.pagination import PageParams, Rows, fetch_page
from api_server.projects.access import visible_to


async def list_entries(
    session: AsyncSession, actor: Actor, filters: AuditFilter, params: PageParams
) -> Rows[AuditEntry]:
    """By a key that is bound to a project, what was done there only."""
    statement = select(AuditEntry).where(visible_to(actor, AuditEntry.project_id))
    for column, wanted in (
        (AuditEntry.user_id, filters.user_id),
        (AuditEntry.action, filters.action),
        (AuditEntry.outcome, filters.outcome),
        (AuditEntry.object_id, filters.object_id),
        (AuditEntry.project_id, filters.project_id),
        (AuditEntry.address, filters.address),
        (AuditEntry.request_id, filters.request_id),
    ):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if filters.since is not None:
        statement = statement.where(AuditEntry.created_at >= filters.since)
    if filters.until is not None:
        statement = statement.where(AuditEntry.created_at < filters.until)
    sortable = {"created_at": AuditEntry.created_at}
    return await fetch_page(
        session, statement, params, sortable=sortable, id_column=AuditEntry.id, most_counted=0
    )


async def next_entries(session: AsyncSession, after: int, *, most: int) -> Sequence[AuditEntry]:
    found = await session.scalars(
        select(AuditEntry).where(AuditEntry.seq > after).order_by(AuditEntry.seq).limit(most)
    )
    return found.all()
