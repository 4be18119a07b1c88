from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.auth.models import RefreshToken, Session, User
from api_server.database import utc_now


async def find_user(db: AsyncSession, user_id: UUID) -> User | None:
    return await db.get(User, user_id)


async def find_by_login(db: AsyncSession, login: str) -> User | None:
    """A user by name or e-mail; names cannot hold an @, so one text means one user."""
    lowered = login.lower()
    return await db.scalar(
        select(User).where(or_(func.lower(User.username) == lowered, func.lower(User.email) == lowered))
    )


async def find_live(db: AsyncSession, user_id: UUID, session_id: UUID) -> User | None:
    """The user of a session, if both are still good."""
    return await db.scalar(
        select(User)
        .join(Session, Session.user_id == User.id)
        .where(
            User.id == user_id,
            User.is_active,
            Session.id == session_id,
            Session.revoked_at.is_(None),
            Session.expires_at > func.now(),
        )
    )


async def find_session(db: AsyncSession, session_id: UUID) -> Session | None:
    return await db.get(Session, session_id)


async def list_live_sessions(db: AsyncSession, user_id: UUID) -> Sequence[Session]:
    found = await db.scalars(
        select(Session)
        .where(Session.user_id == user_id, Session.revoked_at.is_(None), Session.expires_at > func.now())
        .order_by(Session.last_used_at.desc())
    )
    return found.all()


async def use_refresh_token(db: AsyncSession, sha256: str) -> RefreshToken | None:
    """Mark a token as used. One statement decides, so that of two callers only one is the first."""
    return await db.scalar(
        update(RefreshToken)
        .where(RefreshToken.sha256 == sha256, RefreshToken.used_at.is_(None))
        .values(used_at=utc_now())
        .returning(RefreshToken)
    )


async def find_refresh_token(db: AsyncSession, sha256: str) -> RefreshToken | None:
    return await db.get(RefreshToken, sha256, populate_existing=True)


async def end_sessions(
    db: AsyncSession, user_id: UUID, *, only: UUID | None = None, all_but: UUID | None = None
) -> int:
    statement = update(Session).where(Session.user_id == user_id, Session.revoked_at.is_(None))
    if only is not None:
        statement = statement.where(Session.id == only)
    if all_but is not None:
        statement = statement.where(Session.id != all_but)
    ended = await db.scalars(statement.values(revoked_at=utc_now()).returning(Session.id))
    return len(ended.all())


async def touch_session(db: AsyncSession, session_id: UUID, moment: datetime) -> None:
    await db.execute(update(Session).where(Session.id == session_id).values(last_used_at=moment))


async def delete_expired_sessions(db: AsyncSession) -> int:
    gone = await db.scalars(delete(Session).where(Session.expires_at < func.now()).returning(Session.id))
    return len(gone.all())
