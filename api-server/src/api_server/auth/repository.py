from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api_server.auth.models import ApiKey, Invitation, PasswordReset, RefreshToken, Session, User
from api_server.auth.schemas import UserFilter
from api_server.database import utc_now
from api_server.pagination import PageParams, Rows, fetch_page
from platform_kit.contract.access import Role

KEY_USE_NOTED = timedelta(minutes=1)
"""The last use of a key is written down at most this often."""


async def find_user(db: AsyncSession, user_id: UUID) -> User | None:
    return await db.get(User, user_id)


async def find_by_login(db: AsyncSession, login: str) -> User | None:
    """A user by name or e-mail; names cannot hold an @, so one text means one user."""
    lowered = login.lower()
    return await db.scalar(
        select(User).where(or_(func.lower(User.username) == lowered, func.lower(User.email) == lowered))
    )


async def list_users(db: AsyncSession, filters: UserFilter, params: PageParams) -> Rows[User]:
    statement = select(User)
    if filters.role is not None:
        statement = statement.where(User.role == filters.role)
    if filters.is_active is not None:
        statement = statement.where(User.is_active == filters.is_active)
    if filters.reset_requested:
        statement = statement.where(User.reset_requested_at.is_not(None))
    if filters.text is not None:
        text = func.lower(filters.text)
        statement = statement.where(
            or_(
                func.strpos(func.lower(User.username), text) > 0,
                func.strpos(func.lower(User.email), text) > 0,
                func.strpos(func.lower(func.coalesce(User.full_name, "")), text) > 0,
            )
        )
    sortable = {"created_at": User.created_at, "username": User.username}
    return await fetch_page(db, statement, params, sortable=sortable, id_column=User.id)


async def find_users(db: AsyncSession, user_ids: Sequence[UUID]) -> dict[UUID, User]:
    found = await db.scalars(select(User).where(User.id.in_(user_ids)))
    return {each.id: each for each in found}


async def lock_administrators(db: AsyncSession) -> Sequence[UUID]:
    """The active ones; two changes that would each leave the other's wait for one another."""
    found = await db.scalars(
        select(User.id).where(User.role == Role.ADMIN, User.is_active).order_by(User.id).with_for_update()
    )
    return found.all()


async def note_login(
    db: AsyncSession, user_id: UUID, moment: datetime, *, verified_hash: str, new_hash: str | None
) -> User | None:
    """The user, if still active and with the password that was verified: both may have changed while that took time.

    Not a change of the account that others should notice: its revision stays.
    """
    return await db.scalar(
        update(User)
        .where(User.id == user_id, User.is_active, User.password_hash == verified_hash)
        .values(last_login_at=moment, password_hash=new_hash or User.password_hash)
        .returning(User)
    )


async def note_reset_request(db: AsyncSession, login: str) -> UUID | None:
    """One statement whether or not there is such an account; returns whose it is."""
    lowered = login.lower()
    return await db.scalar(
        update(User)
        .where(
            or_(func.lower(User.username) == lowered, func.lower(User.email) == lowered),
            User.is_active,
        )
        .values(reset_requested_at=func.now())
        .returning(User.id)
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


async def has_signed_in_from(db: AsyncSession, user_id: UUID, address: str | None) -> bool:
    statement = select(Session.id).where(Session.user_id == user_id, Session.address == address).limit(1)
    return await db.scalar(statement) is not None


async def find_session(db: AsyncSession, session_id: UUID) -> Session | None:
    return await db.get(Session, session_id)


async def list_live_sessions(db: AsyncSession, user_id: UUID, params: PageParams) -> Rows[Session]:
    statement = select(Session).where(
        Session.user_id == user_id, Session.revoked_at.is_(None), Session.expires_at > func.now()
    )
    sortable = {"created_at": Session.created_at, "last_used_at": Session.last_used_at}
    return await fetch_page(db, statement, params, sortable=sortable, id_column=Session.id)


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


async def find_live_key(
    db: AsyncSession, *, sha256: str | None = None, key_id: UUID | None = None
) -> tuple[ApiKey, User] | None:
    """A key, by its digest or its id, and its owner, if both are still good."""
    is_meant = ApiKey.id == key_id if sha256 is None else ApiKey.sha256 == sha256
    found = await db.execute(
        select(ApiKey, User)
        .join(User, User.id == ApiKey.user_id)
        .where(
            is_meant,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
            User.is_active,
        )
    )
    row = found.one_or_none()
    return (row[0], row[1]) if row else None


async def note_key_use(db: AsyncSession, key_id: UUID, address: str | None) -> None:
    await db.execute(
        update(ApiKey)
        .where(
            ApiKey.id == key_id,
            or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - KEY_USE_NOTED),
        )
        .values(last_used_at=func.now(), last_used_address=func.coalesce(address, ApiKey.last_used_address))
    )


async def revoke_keys(db: AsyncSession, user_id: UUID) -> Sequence[UUID]:
    """Revoke every live key of a user; returns their ids."""
    revoked = await db.scalars(
        update(ApiKey)
        .where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(ApiKey.id)
    )
    return revoked.all()


async def list_keys(db: AsyncSession, user_id: UUID, params: PageParams) -> Rows[ApiKey]:
    statement = select(ApiKey).where(ApiKey.user_id == user_id)
    sortable = {"created_at": ApiKey.created_at, "name": ApiKey.name}
    return await fetch_page(db, statement, params, sortable=sortable, id_column=ApiKey.id)


async def find_key(db: AsyncSession, key_id: UUID, *, user_id: UUID | None) -> ApiKey | None:
    """A key of this user; without `user_id`, anybody's."""
    statement = select(ApiKey).where(ApiKey.id == key_id).with_for_update()
    if user_id is not None:
        statement = statement.where(ApiKey.user_id == user_id)
    return await db.scalar(statement)


async def count_live_keys(db: AsyncSession, user_id: UUID) -> int:
    """Counts under a lock of the owner, so that two requests do not both get the last place."""
    await db.execute(select(User.id).where(User.id == user_id).with_for_update())
    counted = await db.scalar(
        select(func.count()).where(
            ApiKey.user_id == user_id,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
        )
    )
    return counted or 0


async def use_invitation(db: AsyncSession, sha256: str, email: str) -> Invitation | None:
    """Mark an invitation as used, if it holds for this address. One statement decides."""
    return await db.scalar(
        update(Invitation)
        .where(
            Invitation.sha256 == sha256,
            Invitation.used_at.is_(None),
            Invitation.revoked_at.is_(None),
            Invitation.expires_at > func.now(),
            or_(Invitation.email.is_(None), func.lower(Invitation.email) == email.lower()),
        )
        .values(used_at=func.now())
        .returning(Invitation)
    )


async def list_invitations(db: AsyncSession, params: PageParams) -> Rows[Invitation]:
    sortable = {"created_at": Invitation.created_at}
    return await fetch_page(db, select(Invitation), params, sortable=sortable, id_column=Invitation.id)


async def revoke_invitation(db: AsyncSession, invitation_id: UUID) -> bool:
    revoked = await db.scalar(
        update(Invitation)
        .where(Invitation.id == invitation_id, Invitation.used_at.is_(None), Invitation.revoked_at.is_(None))
        .values(revoked_at=func.now())
        .returning(Invitation.id)
    )
    return revoked is not None


async def use_reset(db: AsyncSession, sha256: str) -> UUID | None:
    """Mark a reset token as used; returns whose it is, if it holds. One statement decides."""
    return await db.scalar(
        update(PasswordReset)
        .where(
            PasswordReset.sha256 == sha256,
            PasswordReset.used_at.is_(None),
            PasswordReset.expires_at > func.now(),
        )
        .values(used_at=func.now())
        .returning(PasswordReset.user_id)
    )


async def void_resets(db: AsyncSession, user_id: UUID) -> None:
    await db.execute(
        update(PasswordReset)
        .where(PasswordReset.user_id == user_id, PasswordReset.used_at.is_(None))
        .values(used_at=func.now())
    )


async def delete_spent(db: AsyncSession, *, days: int) -> int:
    """Forget invitations and reset tokens that ended `days` ago; returns how many."""
    before = utc_now() - timedelta(days=days)
    invitations = await db.scalars(
        delete(Invitation).where(Invitation.expires_at < before).returning(Invitation.id)
    )
    resets = await db.scalars(
        delete(PasswordReset).where(PasswordReset.expires_at < before).returning(PasswordReset.id)
    )
    return len(invitations.all()) + len(resets.all())
