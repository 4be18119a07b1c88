import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool

from api_server.auth.models import Invitation, Session, User
from platform_kit.contract.access import Role
from platform_kit.contract.moments import Moment

_EMAIL = re.compile(r"[^@\s\"(),:;<>\[\]\\]{1,64}@[\w-]+(\.[\w-]+)*")
_USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def _username(text: str) -> str:
    if not _USERNAME.fullmatch(text):
        raise ValueError("letters, digits, `_`, `.` and `-` only, beginning with a letter or digit")
    return text


def _printable(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def _email(text: str) -> str:
    """Syntax only: a self-hosted platform also has users at `corp.local`."""
    if not _EMAIL.fullmatch(text):
        raise ValueError("an e-mail address, such as ada@example.com")
    return text


Email = Annotated[str, Field(max_length=320, json_schema_extra={"format": "email"}), AfterValidator(_email)]
Username = Annotated[str, Field(min_length=3, max_length=50), AfterValidator(_username)]
Password = Annotated[str, Field(min_length=8, max_length=128), AfterValidator(_printable)]
FullName = Annotated[str, Field(max_length=200), AfterValidator(_printable)]


class RegisterIn(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"email": "ada@example.com", "username": "ada", "password": "correct horse battery"}]
        },
    )

    email: Email
    username: Username
    password: Password
    full_name: FullName | None = None
    invitation: str | None = Field(
        default=None, max_length=200, description="the code of an invitation, where registering needs one"
    )


class ProfileIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    email: Email | None = None
    full_name: FullName | None = None


class RefreshIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    refresh_token: str = Field(min_length=1, max_length=5000)


class PasswordIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    current_password: str = Field(max_length=1000)
    new_password: Password
    revoke_api_keys: StrictBool = Field(
        default=False, description="also end the keys that this account has made"
    )


class DeactivateIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    password: str = Field(max_length=1000, description="yours, to be sure that it is you")


class ResetRequestIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    login: str = Field(min_length=1, max_length=320, description="user name or e-mail")


class ResetIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1, max_length=200)
    new_password: Password
    revoke_api_keys: StrictBool = Field(
        default=False, description="also end the keys that this account has made"
    )


class UserPatch(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Role | None = None
    is_active: StrictBool | None = None
    full_name: FullName | None = None


class InvitationIn(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"email": "grace@example.com", "role": "user"}]}
    )

    email: Email | None = Field(default=None, description="the only address it is for; left out: any")
    role: Role | None = Field(default=None, description="left out: REGISTRATION_ROLE")
    expires_at: Moment | None = Field(default=None, description="left out: in seven days")


@dataclass(frozen=True)
class UserFilter:
    role: Role | None = None
    is_active: bool | None = None
    reset_requested: bool = False
    text: str | None = None


class UserOut(BaseModel):
    id: UUID
    email: str
    username: str
    full_name: str | None
    role: Role
    is_active: bool
    created_at: datetime


class UserDetail(UserOut):
    """What administrators see besides."""

    last_login_at: datetime | None
    reset_requested_at: datetime | None = Field(
        description="somebody said that the password is lost; POST /users/{id}/password-reset answers it"
    )


class InvitationOut(BaseModel):
    id: UUID
    email: str | None
    role: Role
    created_by: UUID | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    used_by: UUID | None
    revoked_at: datetime | None


class InvitationMade(InvitationOut):
    code: str = Field(description="shown this once; the invited person registers with it as `invitation`")


class ResetMade(BaseModel):
    user_id: UUID
    token: str = Field(description="shown this once; for POST /auth/password-reset")
    expires_at: datetime


class TokenPair(BaseModel):
    access_token: str
    refresh_token: str = Field(description="single use: each refresh gives the next one")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # a kind, not a secret
    expires_in: int = Field(description="seconds until the access token ends")


class SessionOut(BaseModel):
    id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    address: str | None
    user_agent: str | None
    is_current: bool


def user_out(user: User) -> UserOut:
    return UserOut.model_validate(user, from_attributes=True)


def user_detail(user: User) -> UserDetail:
    return UserDetail.model_validate(user, from_attributes=True)


def invitation_out(invitation: Invitation) -> InvitationOut:
    return InvitationOut.model_validate(invitation, from_attributes=True)


def session_out(session: Session, *, current: UUID) -> SessionOut:
    return SessionOut(
        id=session.id,
        created_at=session.created_at,
        last_used_at=session.last_used_at,
        expires_at=session.expires_at,
        address=session.address,
        user_agent=session.user_agent,
        is_current=session.id == current,
    )
