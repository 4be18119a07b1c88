"""The audit log: who did what to what, when and from where, or was refused. Written in the transaction of the deed.

Entries can be added, never changed: the application's database role has no right to, and a trigger refuses even the
owner. Each carries the hash of the one before: a change by somebody with more rights shows (`cli verify-audit`).
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import structlog
from sqlalchemy import BigInteger, Index, String, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from api_server.database import Base, after_commit, before_commit, utc_now
from platform_kit.contract.artifact import canonical_json

GENESIS = "0" * 64
LOCK = 7_230_002
"""Entries are chained one after the other: the lock is taken last in a transaction, and held until it commits."""

DONE, REFUSED = "done", "refused"
SYSTEM = "system"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Who:
    """credential: `session:<id>`, `key:<id>`, or None for somebody who has not signed in."""

    user_id: UUID | None = None
    username: str | None = None
    credential: str | None = None
    address: str | None = None
    request_id: str | None = None


PLATFORM = Who(username=SYSTEM)
"""A worker's result, a chore: what the platform does by itself."""


@dataclass(frozen=True)
class Deed:
    """action: as in `auth.permissions`, such as `dataset:create`; details: plain JSON, and nothing secret."""

    action: str
    object_type: str | None = None
    object_id: str | None = None
    project_id: UUID | None = None
    outcome: str = DONE
    status: int | None = None
    code: str | None = None
    service: str = "api-server"
    details: dict[str, Any] = field(default_factory=dict)
    at: datetime | None = None


class AuditEntry(Base):
    """Without foreign keys: what it names may be deleted, the entry stays."""

    __tablename__ = "audit_log"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[UUID] = mapped_column(unique=True, default=uuid4)
    created_at: Mapped[datetime]
    service: Mapped[str] = mapped_column(String(30))
    action: Mapped[str] = mapped_column(String(60))
    outcome: Mapped[str] = mapped_column(String(10))
    status: Mapped[int | None]
    code: Mapped[str | None] = mapped_column(String(60))
    user_id: Mapped[UUID | None]
    username: Mapped[str | None] = mapped_column(String(50))
    credential: Mapped[str | None] = mapped_column(String(60))
    address: Mapped[str | None] = mapped_column(String(60))
    request_id: Mapped[str | None] = mapped_column(String(128))
    object_type: Mapped[str | None] = mapped_column(String(30))
    object_id: Mapped[str | None] = mapped_column(String(200))
    project_id: Mapped[UUID | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB)
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))

    __table_args__ = (
        Index("ix_audit_log_created_at", "created_at"),
        Index("ix_audit_log_user_id", "user_id", "seq"),
        Index("ix_audit_log_project_id", "project_id", "seq"),
        Index("ix_audit_log_object_id", "object_id", "seq"),
        Index("ix_audit_log_action", "action", "seq"),
        Index("ix_audit_log_address", "address", "seq"),
        Index("ix_audit_log_request_id", "request_id"),
        {"info": {"append_only": True}},
    )

    def digest(self) -> str:
        """SHA-256 over the hash before and every column, as canonical JSON."""
        facts = {
            "seq": self.seq,
            "created_at": self.created_at.astimezone(UTC).isoformat(timespec="microseconds"),
            "id": str(self.id),
            "user_id": str(self.user_id) if self.user_id else None,
            "project_id": str(self.project_id) if self.project_id else None,
            **{name: getattr(self, name) for name in _PLAIN},
        }
        return hashlib.sha256(self.previous_hash.encode() + canonical_json(facts)).hexdigest()


_PLAIN = (
    *("service", "action", "outcome", "status", "code", "username", "credential", "address", "request_id"),
    *("object_type", "object_id", "details"),
)


def record(session: AsyncSession, who: Who, deed: Deed) -> None:
    """Have the deed written as the last thing before this transaction commits; nothing is written if it does not."""
    pending: list[tuple[Who, Deed]] = session.info.setdefault("audit", [])
    if not pending:
        before_commit(session, _append)
    pending.append((who, deed))


async def _append(session: AsyncSession) -> None:
    # First what is still to be written: with the lock held, nothing may wait for another row.
    await session.flush()
    await session.execute(select(func.pg_advisory_xact_lock(LOCK)))
    head = (
        await session.execute(
            select(AuditEntry.seq, AuditEntry.hash).order_by(AuditEntry.seq.desc()).limit(1)
        )
    ).one_or_none()
    seq, previous = (head.seq, head.hash) if head else (0, GENESIS)
    for who, deed in session.info.pop("audit", []):
        seq += 1
        entry = _entry(seq, previous, who, deed)
        session.add(entry)
        previous = entry.hash
    await session.flush()
    # The log is shipped elsewhere: a chain that was cut short or written anew does not fit what was said here.
    after_commit(session, lambda: log.info("audit.appended", seq=seq, hash=previous))


def _entry(seq: int, previous: str, who: Who, deed: Deed) -> AuditEntry:
    entry = AuditEntry(
        seq=seq,
        id=uuid4(),
        created_at=deed.at or utc_now(),
        service=deed.service,
        action=deed.action,
        outcome=deed.outcome,
        status=deed.status,
        code=deed.code,
        user_id=who.user_id,
        username=who.username,
        credential=who.credential,
        address=who.address,
        request_id=who.request_id,
        object_type=deed.object_type,
        object_id=deed.object_id,
        project_id=deed.project_id,
        details=deed.details,
        previous_hash=previous,
    )
    entry.hash = entry.digest()
    return entry
