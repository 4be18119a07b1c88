"""`Idempotency-Key`: a creating POST that is sent twice has one effect, and the second is answered like the first.

The key is stored in the transaction of the effect itself, so that neither is ever there without the other.
"""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Header, Request
from pydantic import BaseModel
from sqlalchemy import String, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from api_server.database import Base, HasCreatedAt, utc_now
from platform_kit.contract.artifact import canonical_json
from platform_kit.plumbing.problems import Problem

Shape = TypeVar("Shape", bound=BaseModel)

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="makes a repeated POST safe for 24 h",
    ),
]


class IdempotentAnswer(HasCreatedAt, Base):
    __tablename__ = "idempotent_answers"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    answer: Mapped[dict[str, Any]]


class KeyReused(Problem):
    status, title, code = 422, "Idempotency key reused", "idempotency_key_reused"


class StillRunning(Problem):
    status, title, code = 409, "Request in flight", "request_in_flight"


def fingerprint(request: Request, body: Any) -> str:
    """What makes two requests the same one: method, path and body, and the project that the API key is bound to.

    A bound key is not to hear again what its owner was told of another project.
    """
    plain = body.model_dump(mode="json") if isinstance(body, BaseModel) else body
    bound_to = request.state.actor.bound_to
    parts = [request.method, request.url.path.rstrip("/"), plain, *([str(bound_to)] if bound_to else [])]
    return hashlib.sha256(canonical_json(parts)).hexdigest()


async def once(
    session: AsyncSession,
    *,
    user_id: UUID,
    key: str | None,
    same: str,
    shape: type[Shape],
    make: Callable[[], Awaitable[Shape]],
) -> Shape:
    """Run `make`, unless this user's `key` has run before: then return what it returned.

    same: the request's fingerprint. Raises KeyReused when the key came with another request, StillRunning while
    the first is under way.
    """
    if key is None:
        return await make()
    lock = func.hashtextextended(f"{user_id}:{key}", 0)
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(lock))):
        raise StillRunning(
            "The first request with this Idempotency-Key is still running.", retry_after_seconds=1
        )
    stored = await session.get(IdempotentAnswer, (user_id, key))
    if stored is not None:
        if stored.fingerprint != same:
            raise KeyReused("This Idempotency-Key was sent with another request before; use a new key.")
        return shape.model_validate(stored.answer)
    result = await make()
    session.add(
        IdempotentAnswer(user_id=user_id, key=key, fingerprint=same, answer=result.model_dump(mode="json"))
    )
    await session.flush()
    return result


async def forget_old(session: AsyncSession, *, hours: int) -> int:
    """Delete keys older than `hours`; returns how many."""
    before = utc_now() - timedelta(hours=hours)
    gone = await session.execute(
        delete(IdempotentAnswer).where(IdempotentAnswer.created_at < before).returning(IdempotentAnswer.key)
    )
    return len(gone.all())
