"""One's own account: registering, profile, password, and the end of it."""

import asyncio
import hashlib
from uuid import UUID, uuid4

from api_server import notices
from api_server.audit_trail import PLATFORM, Deed, Who, record
from api_server.auth import repository
from api_server.auth.actor import Actor
from api_server.auth.errors import (
    AccountTaken,
    InvitationInvalid,
    InvitationNeeded,
    LastAdministrator,
    NotSignedIn,
    PasswordWeak,
    PasswordWrong,
    RegistrationClosed,
    ResetTokenInvalid,
)
from api_server.auth.models import Invitation, User
from api_server.auth.password_rules import weakness_of
from api_server.auth.passwords import passwords
from api_server.auth.permissions import Action
from api_server.auth.schemas import PasswordIn, ProfileIn, RegisterIn, ResetIn
from api_server.auth.throttle import LoginThrottle
from api_server.database import AsyncSession, IntegrityError, Sessions, transaction
from api_server.preconditions import require_match
from api_server.settings import Registration, Settings
from platform_kit.contract.access import Notice, NoticeKind, Role
from platform_kit.contract.problem import Issue, IssueCode

RESET_REQUEST_SECONDS = 0.1
"""When a request for a reset is answered, whatever there was to do for it."""


async def register(db: AsyncSession, body: RegisterIn, *, who: Who, settings: Settings) -> User:
    """Make an account as the settings allow; raises AccountTaken naming what is taken.

    Hashing comes first: it takes time, and the transaction takes a connection with its first statement.
    """
    if settings.registration is Registration.CLOSED:
        raise RegistrationClosed
    _require_strong(body.password, "/password", username=body.username, email=body.email)
    password_hash = await passwords.hash(body.password)
    invitation = await _invitation(db, body, settings)
    role = Role(invitation.role) if invitation else settings.registration_role
    user = await _add(db, body, role=role, password_hash=password_hash)
    if invitation is not None:
        invitation.used_by = user.id
    record(db, _named(user, who), Deed(Action.REGISTER, "user", str(user.id), details={"role": role}))
    return user


async def _invitation(db: AsyncSession, body: RegisterIn, settings: Settings) -> Invitation | None:
    is_needed = settings.registration is Registration.INVITATION
    if body.invitation is None:
        if is_needed:
            raise InvitationNeeded
        return None
    digest = hashlib.sha256(body.invitation.encode()).hexdigest()
    invitation = await repository.use_invitation(db, digest, body.email)
    if invitation is None:
        raise InvitationInvalid(is_needed=is_needed)
    return invitation


async def me(db: AsyncSession, actor: Actor) -> User:
    user = await repository.find_user(db, actor.user_id)
    if user is None:
        raise NotSignedIn
    return user


async def change_profile(db: AsyncSession, actor: Actor, body: ProfileIn, if_match: str | None) -> User:
    user = await me(db, actor)
    require_match(if_match, user.revision)
    changes = {
        name: value
        for name, value in body.model_dump(exclude_unset=True).items()
        if name != "email" or value is not None
    }
    for name, value in changes.items():
        setattr(user, name, value)
    try:
        async with db.begin_nested():
            await db.flush()
    except IntegrityError:
        raise AccountTaken("This e-mail address has an account already.") from None
    record(db, actor.who, Deed(Action.ACCOUNT_CHANGE, "user", str(user.id), details={"changed": [*changes]}))
    return user


async def change_password(
    sessions: Sessions, actor: Actor, body: PasswordIn, throttle: LoginThrottle
) -> None:
    """Set a new password and end every other session. Raises PasswordWrong, LoginsThrottled, PasswordWeak."""
    user = await _confirmed(sessions, actor, body.current_password, throttle)
    _require_strong(body.new_password, "/new_password", username=user.username, email=user.email)
    password_hash = await passwords.hash(body.new_password)
    async with transaction(sessions) as db:
        user = await me(db, actor)
        user.password_hash = password_hash
        await repository.void_resets(db, user.id)
        await repository.end_sessions(db, user.id, all_but=actor.credential_id)
        keys = await _revoked_keys(db, user, body.revoke_api_keys)
        _tell_changed(db, user)
        details = {"changed": ["password"], "revoked_api_keys": keys}
        record(db, actor.who, Deed(Action.ACCOUNT_CHANGE, "user", str(user.id), details=details))


async def deactivate(sessions: Sessions, actor: Actor, password: str, throttle: LoginThrottle) -> None:
    """Close one's own account; an administrator can open it again.

    Raises PasswordWrong, LoginsThrottled, LastAdministrator.
    """
    await _confirmed(sessions, actor, password, throttle)
    async with transaction(sessions) as db:
        if actor.is_admin and set(await repository.lock_administrators(db)) == {actor.user_id}:
            raise LastAdministrator
        user = await me(db, actor)
        user.is_active = False
        await repository.end_sessions(db, user.id)
        _tell_changed(db, user)
        record(
            db,
            actor.who,
            Deed(Action.ACCOUNT_CHANGE, "user", str(user.id), details={"change": "deactivated"}),
        )


async def ask_for_reset(sessions: Sessions, login: str, who: Who) -> None:
    """Note that a password is lost, for administrators to see. The caller learns nothing, in words or time.

    Whether or not there is such an account, there is one statement, one entry in the audit log, and one commit; what is
    still left of a difference (a row that is written or not: 1 %) ends within RESET_REQUEST_SECONDS.
    """
    loop = asyncio.get_running_loop()
    answers_at = loop.time() + RESET_REQUEST_SECONDS
    async with transaction(sessions) as db:
        user_id = await repository.note_reset_request(db, login)
        about = str(user_id) if user_id else None
        record(db, who, Deed(Action.RESET_PASSWORD, "user", about, details={"change": "asked for"}))
    await asyncio.sleep(answers_at - loop.time())


async def reset_password(db: AsyncSession, body: ResetIn, who: Who) -> None:
    """Set a new password with a token that an administrator handed over; ends every session."""
    password_hash = await passwords.hash(body.new_password)
    user_id = await repository.use_reset(db, hashlib.sha256(body.token.encode()).hexdigest())
    user = await repository.find_user(db, user_id) if user_id else None
    if user is None or not user.is_active:
        raise ResetTokenInvalid
    _require_strong(body.new_password, "/new_password", username=user.username, email=user.email)
    user.password_hash, user.reset_requested_at = password_hash, None
    await repository.end_sessions(db, user.id)
    keys = await _revoked_keys(db, user, body.revoke_api_keys)
    _tell_changed(db, user)
    details = {"change": "set", "revoked_api_keys": keys}
    record(db, _named(user, who), Deed(Action.RESET_PASSWORD, "user", str(user.id), details=details))


async def make_account(db: AsyncSession, body: RegisterIn, *, role: Role) -> User:
    """Make an account with this role and password, or give them to the one that has the name."""
    user = await repository.find_by_login(db, body.username)
    if user is None:
        return await _make(db, body, role=role)
    user.role, user.is_active = role, True
    verdict = await passwords.verify(body.password, user.password_hash)
    if not verdict:
        user.password_hash = await passwords.hash(body.password)
    await db.flush()
    _tell_changed(db, user)
    record(db, PLATFORM, Deed(Action.USER_ADMINISTER, "user", str(user.id), details={"role": role}))
    return user


async def make_account_once(db: AsyncSession, body: RegisterIn, *, role: Role) -> bool:
    """Make an account unless there is one of this name, which keeps its password and role; returns whether it did.

    Raises AccountTaken when the e-mail address belongs to another name.
    """
    if await repository.find_by_login(db, body.username) is not None:
        return False
    try:
        await _make(db, body, role=role)
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
    _tell_changed(db, user)
    record(db, PLATFORM, Deed(Action.USER_ADMINISTER, "user", str(user.id), details={"is_active": False}))
    return True


async def find_all(db: AsyncSession, user_ids: list[UUID]) -> dict[UUID, User]:
    return await repository.find_users(db, user_ids)


async def find(db: AsyncSession, login: str) -> User | None:
    """An active user by name or e-mail."""
    user = await repository.find_by_login(db, login)
    return user if user is not None and user.is_active else None


async def find_by_id(db: AsyncSession, user_id: UUID) -> User | None:
    user = await repository.find_user(db, user_id)
    return user if user is not None and user.is_active else None


async def forget_spent(db: AsyncSession, *, days: int = 30) -> int:
    """Delete invitations and reset tokens that ended long ago; returns how many."""
    return await repository.delete_spent(db, days=days)


async def _make(db: AsyncSession, body: RegisterIn, *, role: Role) -> User:
    user = await _add(db, body, role=role, password_hash=await passwords.hash(body.password))
    record(db, PLATFORM, Deed(Action.REGISTER, "user", str(user.id), details={"role": role}))
    return user


async def _add(db: AsyncSession, body: RegisterIn, *, role: Role, password_hash: str) -> User:
    user = User(
        id=uuid4(),
        email=body.email,
        username=body.username,
        full_name=body.full_name,
        role=role,
        password_hash=password_hash,
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


async def _confirmed(sessions: Sessions, actor: Actor, password: str, throttle: LoginThrottle) -> User:
    """The actor's account, once the password has shown that it is them. The check holds no connection.

    Guesses are counted as those of a login are: who has stolen a session should not find the password with it.
    """
    async with transaction(sessions) as db:
        user = await me(db, actor)
    account = str(user.id)
    async with passwords.turn(is_known=True, address=actor.address) as turn:
        await throttle.require(account, actor.address, is_known=False)
        if not await turn.verify(password, user.password_hash):
            await throttle.note_failure(account, actor.address)
            raise PasswordWrong
    await throttle.note_success(account, actor.address)
    return user


async def _revoked_keys(db: AsyncSession, user: User, wanted: bool) -> int:
    return len(await repository.revoke_keys(db, user.id)) if wanted else 0


def _require_strong(password: str, pointer: str, *, username: str, email: str) -> None:
    weakness = weakness_of(password, username=username, email=email)
    if weakness is not None:
        issue = Issue(pointer=pointer, field=pointer[1:], code=IssueCode.GUESSABLE, expected=weakness)
        raise PasswordWeak(weakness, errors=[issue])


def _tell_changed(db: AsyncSession, user: User) -> None:
    notices.tell(db, Notice(kind=NoticeKind.USER, id=user.id))


def _named(user: User, who: Who) -> Who:
    return Who(user_id=user.id, username=user.username, address=who.address, request_id=who.request_id)
