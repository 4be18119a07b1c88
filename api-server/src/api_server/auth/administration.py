"""What administrators do with other people's accounts: list, change, invite, help after a lost password."""

import hashlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from api_server import notices
from api_server.audit_trail import Deed, record
from api_server.auth import repository
from api_server.auth.actor import Actor
from api_server.auth.errors import (
    InvitationNotFound,
    InvitationUseless,
    LastAdministrator,
    RegistrationIsOff,
    UserNotFound,
)
from api_server.auth.models import Invitation, PasswordReset, User
from api_server.auth.permissions import Action
from api_server.auth.schemas import InvitationIn, UserFilter, UserPatch
from api_server.database import AsyncSession, utc_now
from api_server.pagination import PageParams, Rows
from api_server.preconditions import require_match
from api_server.settings import Registration, Settings
from platform_kit.contract.access import Notice, NoticeKind, Role
from platform_kit.contract.problem import Issue, IssueCode

INVITATION_LASTS = timedelta(days=7)
RESET_LASTS = timedelta(hours=1)


async def list_users(db: AsyncSession, filters: UserFilter, params: PageParams) -> Rows[User]:
    return await repository.list_users(db, filters, params)


async def get_user(db: AsyncSession, user_id: UUID) -> User:
    user = await repository.find_user(db, user_id)
    if user is None:
        raise UserNotFound
    return user


async def change_user(
    db: AsyncSession, actor: Actor, user_id: UUID, patch: UserPatch, if_match: str | None
) -> User:
    """Change a role, disable or enable; a disabled account's sessions end. Raises LastAdministrator."""
    administrators = set(await repository.lock_administrators(db))
    user = await get_user(db, user_id)
    require_match(if_match, user.revision)
    changes = patch.model_dump(exclude_unset=True, exclude_none=True)
    stays_admin = changes.get("role", user.role) == Role.ADMIN and changes.get("is_active", user.is_active)
    if administrators == {user.id} and not stays_admin:
        raise LastAdministrator
    before = {name: getattr(user, name) for name in changes}
    for name, value in changes.items():
        setattr(user, name, value)
    await db.flush()
    if not user.is_active:
        await repository.end_sessions(db, user.id)
    notices.tell(db, Notice(kind=NoticeKind.USER, id=user.id))
    details = {"from": before, "to": {name: getattr(user, name) for name in changes}}
    record(db, actor.who, Deed(Action.USER_ADMINISTER, "user", str(user.id), details=details))
    return user


async def offer_reset(db: AsyncSession, actor: Actor, user_id: UUID) -> tuple[str, datetime]:
    """A token with which this user can set a new password, once; earlier ones end. Returns it with its end."""
    user = await get_user(db, user_id)
    await repository.void_resets(db, user.id)
    token, expires_at = secrets.token_urlsafe(32), utc_now() + RESET_LASTS
    db.add(
        PasswordReset(
            id=uuid4(),
            user_id=user.id,
            created_by=actor.user_id,
            sha256=hashlib.sha256(token.encode()).hexdigest(),
            expires_at=expires_at,
        )
    )
    await db.flush()
    details = {"change": "password reset offered"}
    record(db, actor.who, Deed(Action.USER_ADMINISTER, "user", str(user.id), details=details))
    return token, expires_at


async def invite(
    db: AsyncSession, actor: Actor, body: InvitationIn, settings: Settings
) -> tuple[Invitation, str]:
    """Returns the invitation and its code, which is kept nowhere. Raises InvitationUseless."""
    if settings.registration is Registration.CLOSED:
        raise RegistrationIsOff
    if body.expires_at is not None and body.expires_at <= utc_now():
        issue = Issue(
            pointer="/expires_at", field="expires_at", code=IssueCode.OUT_OF_RANGE, expected="a time to come"
        )
        raise InvitationUseless(
            "Please mend expires_at: it must be a time that is still to come.", errors=[issue]
        )
    code = secrets.token_urlsafe(24)
    invitation = Invitation(
        id=uuid4(),
        created_by=actor.user_id,
        email=body.email,
        role=body.role or settings.registration_role,
        sha256=hashlib.sha256(code.encode()).hexdigest(),
        expires_at=body.expires_at or utc_now() + INVITATION_LASTS,
    )
    db.add(invitation)
    await db.flush()
    details = {"role": invitation.role}
    record(db, actor.who, Deed(Action.USER_ADMINISTER, "invitation", str(invitation.id), details=details))
    return invitation, code


async def list_invitations(db: AsyncSession, params: PageParams) -> Rows[Invitation]:
    return await repository.list_invitations(db, params)


async def revoke_invitation(db: AsyncSession, actor: Actor, invitation_id: UUID) -> None:
    if not await repository.revoke_invitation(db, invitation_id):
        raise InvitationNotFound
    details = {"change": "revoked"}
    record(db, actor.who, Deed(Action.USER_ADMINISTER, "invitation", str(invitation_id), details=details))
