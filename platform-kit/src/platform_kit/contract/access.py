"""Who is calling: ml-service asks api-server, the one place that knows tokens and keys (RFC 7662 in spirit)."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from platform_kit.contract.base import Message, Readable


class Role(StrEnum):
    """The platform role; a member's role in a project is something else."""

    USER = "user"
    DATA_SCIENTIST = "data_scientist"
    ADMIN = "admin"


class CredentialKind(StrEnum):
    BEARER = "bearer"
    API_KEY = "api_key"


class IntrospectionRequest(Message):
    kind: CredentialKind
    credential: str


class Principal(Readable):
    """expires_at: when the credential itself ends; project_ids: where the caller may read and predict."""

    user_id: UUID
    username: str
    role: Role
    project_ids: list[UUID]
    expires_at: datetime | None

    def may_see(self, project_id: UUID) -> bool:
        return self.role is Role.ADMIN or project_id in self.project_ids


class Introspection(Readable):
    """principal: null for a credential that is unknown, expired, revoked or malformed; why is not said."""

    principal: Principal | None
