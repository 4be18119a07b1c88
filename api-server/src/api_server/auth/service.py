import secrets
from datetime import timedelta
from uuid import UUID, uuid4

from api_server.auth import repository
from api_server.auth.actor import Actor
from api_server.auth.errors import (
    AccountTaken,
    CredentialsWrong,
    NotSignedIn,
    PasswordWrong,
    SessionNotFound,
)
from api_server.auth.models import RefreshToken, Session, User
from api_server.auth.passwords import passwords
from api_server.auth.schemas import PasswordIn, ProfileIn, RegisterIn, TokenPair
from api_server.auth.tokens import TokenInvalid, Tokens, digest_of
from api_server.database import AsyncSession, IntegrityError, Sessions, transaction, utc_now
from api_server.preconditions import require_match
from api_server.settings import Settings
from platform_kit.contract.access import Role


def tokens_of(settings: Settings) -> Tokens:
    return Tokens(settings.jwt_secret.get_secret_value(), lifetime_seconds=settings.access_token_seconds)


async def register(db: AsyncSession, body: RegisterIn, *, role: Role) -> User:
    """Make an account; raises AccountTaken naming what is taken."""
    user = User(
        id=uuid4(),
        email=body.email,
        username=body.username,
        full_name=body.full_name,
        role=role,
        password_hash=await passwords.hash(body.password),
        is_active=True,
    )
    try:
        async with db.begin_nested():
            db.add(user)
            await db.flush()
    except IntegrityError as error:
        what = "e-mail address" if "email" in str(error.orig) else "user name"
        raise AccountTaken(f"This {what} has an account already; sign in, or choose another.") from None
    return user


async def log_in(
    sessions: Sessions,
    login: str,
    password: str,
    *,
    settings: Settings,
    address: str | None,
    user_agent: str | None,
) -> TokenPair:
    """Start a session. The password is checked outside a transaction: it takes time, and connections are few."""
    async with transaction(sessions) as db:
        user = await repository.find_by_login(db, login)
    matches = await passwords.verify(password, user.password_hash if user else None)
    if user is None or not matches or not user.is_active:
        raise CredentialsWrong
    now = utc_now()
    session = Session(
        id=uuid4(),
        user_id=user.id,
        last_used_at=now,
        expires_at=now + timedelta(seconds=settings.refresh_token_seconds),
        address=address,
        user_agent=user_agent[:300] if user_agent else None,
    )
    first = RefreshToken(session_id=session.id, issued_at=now)
    secret = secrets.token_hex(32)
    first.sha256 = digest_of(secret)
    async with transaction(sessions) as db:
        db.add(session)
        await db.flush()
        db.add(first)
    return _pair(settings, user.id, first, secret)


async def refresh(db: AsyncSession, refresh_token: str, settings: Settings) -> TokenPair | None:
    """Trade a refresh token for the next pair.

    A repeat within the grace gets the very same pair (the first answer may have been lost); a later one means that
    somebody else has the token: the session ends. None: refused; the end of the session is to be committed.
    """
    tokens = tokens_of(settings)
    used = await repository.use_refresh_token(db, digest_of(refresh_token))
    is_first = used is not None
    token = used or await repository.find_refresh_token(db, digest_of(refresh_token))
    if token is None or token.used_at is None:
        return None
    session = await repository.find_session(db, token.session_id)
    if session is None or await repository.find_live(db, session.user_id, session.id) is None:
        return None
    secret = tokens.successor(refresh_token)
    if is_first:
        successor = RefreshToken(sha256=digest_of(secret), session_id=session.id, issued_at=token.used_at)
        db.add(successor)
        await repository.touch_session(db, session.id, token.used_at)
        await db.flush()
        return _pair(settings, session.user_id, successor, secret)
    if utc_now() - token.used_at > timedelta(seconds=settings.refresh_grace_seconds):
        await repository.end_sessions(db, session.user_id, only=session.id)
        return None
    again = await repository.find_refresh_token(db, digest_of(secret))
    return None if again is None else _pair(settings, session.user_id, again, secret)


def _pair(settings: Settings, user_id: UUID, token: RefreshToken, secret: str) -> TokenPair:
    access = tokens_of(settings).mint(
        user_id=user_id, session_id=token.session_id, token_id=token.sha256[:32], issued_at=token.issued_at
    )
    return TokenPair(access_token=access, refresh_token=secret, expires_in=settings.access_token_seconds)


async def identify(db: AsyncSession, access_token: str, settings: Settings) -> Actor:
    """Say who sends this access token, as things stand now; raises NotSignedIn."""
    try:
        claims = tokens_of(settings).read(access_token)
    except TokenInvalid:
        raise NotSignedIn from None
    user = await repository.find_live(db, claims.user_id, claims.session_id)
    if user is None:
        raise NotSignedIn
    return Actor(
        user_id=user.id,
        username=user.username,
        role=Role(user.role),
        session_id=claims.session_id,
        expires_at=claims.expires_at,
    )


async def me(db: AsyncSession, actor: Actor) -> User:
    user = await repository.find_user(db, actor.user_id)
    if user is None:
        raise NotSignedIn
    return user


async def change_profile(db: AsyncSession, actor: Actor, body: ProfileIn, if_match: str | None) -> User:
    user = await me(db, actor)
    require_match(if_match, user.revision)
    for name, value in body.model_dump(exclude_unset=True).items():
        if name != "email" or value is not None:
            setattr(user, name, value)
    try:
        async with db.begin_nested():
            await db.flush()
    except IntegrityError:
        raise AccountTaken("This e-mail address has an account already.") from None
    return user


async def change_password(db: AsyncSession, actor: Actor, body: PasswordIn) -> None:
    """Set a new password and end every other session."""
    user = await me(db, actor)
    if not await passwords.verify(body.current_password, user.password_hash):
        raise PasswordWrong
    user.password_hash = await passwords.hash(body.new_password)
    await repository.end_sessions(db, user.id, all_but=actor.session_id)


async def log_out(db: AsyncSession, actor: Actor) -> None:
    await repository.end_sessions(db, actor.user_id, only=actor.session_id)


async def end_session(db: AsyncSession, actor: Actor, session_id: UUID) -> None:
    if not await repository.end_sessions(db, actor.user_id, only=session_id):
        raise SessionNotFound


async def list_sessions(db: AsyncSession, actor: Actor) -> list[Session]:
    return list(await repository.list_live_sessions(db, actor.user_id))


async def make_account(db: AsyncSession, body: RegisterIn, *, role: Role) -> User:
    """Make an account with this role and password, or give them to the one that has the name."""
    user = await repository.find_by_login(db, body.username)
    if user is None:
        return await register(db, body, role=role)
    user.role, user.is_active = role, True
    if not await passwords.verify(body.password, user.password_hash):
        user.password_hash = await passwords.hash(body.password)
    await db.flush()
    return user


async def make_account_once(db: AsyncSession, body: RegisterIn, *, role: Role) -> bool:
    """Make an account unless there is one of this name, which keeps its password and role; returns whether it did.

    Raises AccountTaken when the e-mail address belongs to another name.
    """
    if await repository.find_by_login(db, body.username) is not None:
        return False
    try:
        await register(db, body, role=role)
    except AccountTaken:
        if await repository.find_by_login(db, body.username) is None:
            raise
        return False  # somebody else made it at the same moment
    return True


async def close_account(db: AsyncSession, *, username: str, email: str) -> bool:
    """Disable an account and end its sessions; returns whether there was one that could still sign in."""
    user = await repository.find_by_login(db, username)
    if user is None or user.email != email or not user.is_active:
        return False
    user.is_active = False
    await repository.end_sessions(db, user.id)
    return True


async def forget_expired(db: AsyncSession) -> int:
    """Delete sessions that have run out; returns how many."""
    return await repository.delete_expired_sessions(db)
