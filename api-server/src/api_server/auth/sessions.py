"""Signing in and staying signed in: sessions and their refresh tokens, which are rows and nothing else."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from api_server import notices
from api_server.audit_trail import REFUSED, Deed, Who, record
from api_server.auth import repository
from api_server.auth.actor import Actor
from api_server.auth.errors import CredentialsWrong, RefreshTokenInvalid, SessionNotFound
from api_server.auth.models import RefreshToken, Session, User
from api_server.auth.passwords import passwords
from api_server.auth.permissions import Action
from api_server.auth.schemas import TokenPair
from api_server.auth.throttle import LoginThrottle
from api_server.auth.tokens import Tokens, digest_of
from api_server.database import AsyncSession, Sessions, transaction, utc_now
from api_server.pagination import PageParams, Rows
from api_server.settings import Settings
from platform_kit.contract.access import Notice, NoticeKind

NOBODY = UUID(int=0)
REUSED = "refresh_token_reused"
"""What the audit log calls it; the caller is told the same as for an unknown token."""


@dataclass(frozen=True)
class Credentials:
    """login: a user name or an e-mail address."""

    login: str
    password: str
    user_agent: str | None


def tokens_of(settings: Settings) -> Tokens:
    return Tokens(
        settings.jwt_secret.get_secret_value(),
        previous=settings.jwt_secret_previous.get_secret_value(),
        lifetime_seconds=settings.access_token_seconds,
    )


async def log_in(
    sessions: Sessions, sent: Credentials, *, who: Who, throttle: LoginThrottle, settings: Settings
) -> TokenPair:
    """Start a session; raises CredentialsWrong, LoginsThrottled, TooManyLogins.

    The password is checked outside a transaction: it takes time, and connections are few.
    """
    async with transaction(sessions) as db:
        user = await repository.find_by_login(db, sent.login)
        # Asked for somebody who does not exist as well, so that time does not tell who does.
        is_known = await repository.has_signed_in_from(db, user.id if user else NOBODY, who.address)
    async with passwords.turn(is_known=is_known, address=who.address) as turn:
        await throttle.require(sent.login, who.address, is_known=is_known)
        verdict = await turn.verify(sent.password, user.password_hash if user else None)
        if user is None or not verdict or not user.is_active:
            await throttle.note_failure(sent.login, who.address)
            raise CredentialsWrong(about=user.id if user else None)
        await throttle.note_success(sent.login, who.address)
    async with transaction(sessions) as db:
        still = await repository.note_login(
            db, user.id, utc_now(), verified_hash=user.password_hash, new_hash=verdict.new_hash
        )
        if still is None:
            raise CredentialsWrong(about=user.id)
        return await _start(db, still, sent.user_agent, who, settings)


async def _start(
    db: AsyncSession, user: User, user_agent: str | None, who: Who, settings: Settings
) -> TokenPair:
    now = utc_now()
    session = Session(
        id=uuid4(),
        user_id=user.id,
        last_used_at=now,
        expires_at=now + timedelta(seconds=settings.refresh_token_seconds),
        address=who.address,
        user_agent=user_agent[:300] if user_agent else None,
    )
    secret = secrets.token_hex(32)
    first = RefreshToken(session_id=session.id, issued_at=now, sha256=digest_of(secret))
    db.add(session)
    await db.flush()
    db.add(first)
    record(db, _as(user, who, session.id), Deed(Action.LOG_IN, "session", str(session.id)))
    return _pair(settings, user.id, first, secret)


async def refresh(db: AsyncSession, refresh_token: str, who: Who, settings: Settings) -> TokenPair | None:
    """Trade a refresh token for the next pair.

    A repeat within the grace gets the very same pair (the first answer may have been lost), as long as that was not
    used in turn; any later one means that somebody else has the token: the session ends. Then None is returned, so that
    this, and its entry in the audit log, are committed. Raises RefreshTokenInvalid for what does not hold.
    """
    came_at, digest = utc_now(), digest_of(refresh_token)
    used = await repository.use_refresh_token(db, digest)
    token = used or await repository.find_refresh_token(db, digest)
    if token is None or token.used_at is None:
        raise RefreshTokenInvalid
    session = await repository.find_session(db, token.session_id)
    user = await repository.find_live(db, session.user_id, session.id) if session else None
    if session is None or user is None:
        raise RefreshTokenInvalid
    if used is not None:
        return await _succeed(db, refresh_token, used, user.id, settings)
    child = await _successor(db, refresh_token, settings)
    # Since it came: a crowd that waits for the first one's row has not become late by that.
    is_late = came_at - token.used_at > timedelta(seconds=settings.refresh_grace_seconds)
    if is_late or child is None or child.row.used_at is not None:
        await repository.end_sessions(db, user.id, only=session.id)
        notices.tell(db, Notice(kind=NoticeKind.SESSION, id=session.id))
        deed = Deed(Action.REFRESH, "session", str(session.id), outcome=REFUSED, status=401, code=REUSED)
        record(db, _as(user, who, session.id), deed)
        return None
    return _pair(settings, user.id, child.row, child.secret)


@dataclass(frozen=True)
class _Child:
    row: RefreshToken
    secret: str


async def _succeed(
    db: AsyncSession, refresh_token: str, used: RefreshToken, user_id: UUID, settings: Settings
) -> TokenPair:
    assert used.used_at is not None  # it was set by the statement that returned it
    secret = tokens_of(settings).successors(refresh_token)[0]
    successor = RefreshToken(sha256=digest_of(secret), session_id=used.session_id, issued_at=used.used_at)
    db.add(successor)
    await repository.touch_session(db, used.session_id, used.used_at)
    await db.flush()
    return _pair(settings, user_id, successor, secret)


async def _successor(db: AsyncSession, refresh_token: str, settings: Settings) -> _Child | None:
    """The token that followed this one; the key that it was derived with may have been replaced since."""
    for secret in tokens_of(settings).successors(refresh_token):
        row = await repository.find_refresh_token(db, digest_of(secret))
        if row is not None:
            return _Child(row, secret)
    return None


def _pair(settings: Settings, user_id: UUID, token: RefreshToken, secret: str) -> TokenPair:
    access = tokens_of(settings).mint(
        user_id=user_id, session_id=token.session_id, token_id=token.sha256[:32], issued_at=token.issued_at
    )
    return TokenPair(access_token=access, refresh_token=secret, expires_in=settings.access_token_seconds)


async def log_out(db: AsyncSession, actor: Actor) -> None:
    await repository.end_sessions(db, actor.user_id, only=actor.credential_id)
    notices.tell(db, Notice(kind=NoticeKind.SESSION, id=actor.credential_id))
    record(db, actor.who, Deed(Action.ACCOUNT_CHANGE, "session", str(actor.credential_id), details=_ENDED))


async def log_out_everywhere(db: AsyncSession, actor: Actor) -> None:
    """End every session of the actor, this one too."""
    count = await repository.end_sessions(db, actor.user_id)
    notices.tell(db, Notice(kind=NoticeKind.USER, id=actor.user_id))
    record(db, actor.who, Deed(Action.ACCOUNT_CHANGE, "session", details={**_ENDED, "sessions": count}))


async def end(db: AsyncSession, actor: Actor, session_id: UUID) -> None:
    if not await repository.end_sessions(db, actor.user_id, only=session_id):
        raise SessionNotFound
    notices.tell(db, Notice(kind=NoticeKind.SESSION, id=session_id))
    record(db, actor.who, Deed(Action.ACCOUNT_CHANGE, "session", str(session_id), details=_ENDED))


async def list_live(db: AsyncSession, actor: Actor, params: PageParams) -> Rows[Session]:
    return await repository.list_live_sessions(db, actor.user_id, params)


async def forget_expired(db: AsyncSession) -> int:
    """Delete sessions that have run out; returns how many."""
    return await repository.delete_expired_sessions(db)


_ENDED = {"change": "ended"}


def _as(user: User, who: Who, session_id: UUID) -> Who:
    return Who(
        user_id=user.id,
        username=user.username,
        credential=f"session:{session_id}",
        address=who.address,
        request_id=who.request_id,
    )
