"""Who is calling: ml-service asks api-server, the one place that knows tokens and keys (RFC 7662 in spirit)."""

from collections.abc import Set
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import Field

from platform_kit.contract.base import Message, Readable


class Role(StrEnum):
    """The platform role; a member's role in a project is something else. Each covers the ones before it."""

    USER = "user"
    DATA_SCIENTIST = "data_scientist"
    ADMIN = "admin"

    def covers(self, need: "Role") -> bool:
        order = list(Role)
        return order.index(self) >= order.index(need)


class ProjectRole(StrEnum):
    """What a member is in one project. Each covers the ones before it."""

    VIEWER = "viewer"
    EDITOR = "editor"
    OWNER = "owner"

    def covers(self, need: "ProjectRole") -> bool:
        order = list(ProjectRole)
        return order.index(self) >= order.index(need)


class Scope(StrEnum):
    """What an API key is for. None includes another; what its owner may not do, no scope allows."""

    PREDICT = "predict"
    READ = "read"
    WRITE = "write"
    DEPLOY = "deploy"
    AUDIT = "audit"


class CredentialKind(StrEnum):
    BEARER = "bearer"
    API_KEY = "api_key"


class IntrospectionRequest(Message):
    kind: CredentialKind
    credential: str


class Principal(Readable):
    """Who asks ml-service, and how far the credential reaches.

    project_ids: where the caller may read and predict; `sees_all`: everywhere (an administrator, unless by a key that
    is bound to a project). scopes: null for a session, which may do all that its user may. endpoint: the only one that
    the key is for; null: any. expires_at: when the credential itself ends; credential_id: of the session or key.
    """

    user_id: UUID
    username: str
    role: Role
    credential_id: UUID
    sees_all: bool
    project_ids: list[UUID]
    scopes: list[Scope] | None
    endpoint: str | None
    expires_at: datetime | None

    def may_see(self, project_id: UUID, endpoint: str) -> bool:
        is_inside = self.sees_all or project_id in self.project_ids
        return is_inside and self.endpoint in (None, endpoint)

    def may(self, *scopes: Scope) -> bool:
        """Whether the credential is good for one of these."""
        return self.scopes is None or any(each in self.scopes for each in scopes)

    def rests_on(self, ended: Set[UUID]) -> bool:
        """Whether one of these is its credential, its user, or a project that it names."""
        return self.credential_id in ended or self.user_id in ended or not ended.isdisjoint(self.project_ids)


class Introspection(Readable):
    """principal: null for a credential that is unknown, expired, revoked or malformed; why is not said."""

    principal: Principal | None


class Refusal(Message):
    """An access that ml-service refused, for the audit log; user_id, credential: null for somebody unknown."""

    at: datetime
    action: str
    status: int
    code: str
    object_id: str | None
    user_id: UUID | None
    username: str | None
    credential: str | None
    address: str | None
    request_id: str | None


class Refusals(Message):
    refusals: list[Refusal] = Field(max_length=1000)


class NoticeKind(StrEnum):
    SESSION = "session"
    KEY = "key"
    USER = "user"
    PROJECT = "project"
    JOB = "job"
    """Its worker should ask at once, not only at the next heartbeat, whether it may go on."""


class Notice(Readable):
    """Something has ended or changed: what was said of it before is out of date."""

    kind: NoticeKind
    id: UUID
