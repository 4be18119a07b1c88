from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from api_server.audit_trail import Who
from platform_kit.contract.access import Role, Scope


@dataclass(frozen=True)
class KeyGrant:
    """What an API key adds: limits. project_id, endpoint: the only ones it is for; None: any of its owner's."""

    scopes: frozenset[Scope]
    project_id: UUID | None
    endpoint: str | None


@dataclass(frozen=True)
class Actor:
    """Who makes a request, as the database has it now.

    credential_id: of the session, or of the key. expires_at: when the credential itself ends.
    """

    user_id: UUID
    username: str
    role: Role
    credential_id: UUID
    expires_at: datetime | None
    key: KeyGrant | None = None
    address: str | None = None
    request_id: str | None = None

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN

    @property
    def sees_all(self) -> bool:
        """Whether every project is visible: to an administrator, unless by a key that is bound to one."""
        return self.is_admin and self.bound_to is None

    @property
    def bound_to(self) -> UUID | None:
        """The project that the credential is bound to."""
        return self.key.project_id if self.key else None

    @property
    def who(self) -> Who:
        """As the audit log names them."""
        return Who(
            user_id=self.user_id,
            username=self.username,
            credential=f"{'key' if self.key else 'session'}:{self.credential_id}",
            address=self.address,
            request_id=self.request_id,
        )
