from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from api_server.audit_trail import AuditEntry


@dataclass(frozen=True)
class AuditFilter:
    """None: any. since is inside, until outside."""

    user_id: UUID | None = None
    action: str | None = None
    outcome: str | None = None
    object_id: str | None = None
    project_id: UUID | None = None
    address: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditOut(BaseModel):
    id: UUID
    seq: int
    created_at: datetime
    service: str
    action: str
    outcome: str
    status: int | None
    code: str | None
    user_id: UUID | None
    username: str | None
    credential: str | None
    address: str | None
    request_id: str | None
    object_type: str | None
    object_id: str | None
    project_id: UUID | None
    details: dict[str, Any]
    previous_hash: str
    hash: str


def audit_out(entry: AuditEntry) -> AuditOut:
    return AuditOut.model_validate(entry, from_attributes=True)
