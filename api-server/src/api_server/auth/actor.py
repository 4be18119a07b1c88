from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from platform_kit.contract.access import Role


@dataclass(frozen=True)
class Actor:
    """Who makes a request, as the database has it now; expires_at: when the credential itself ends."""

    user_id: UUID
    username: str
    role: Role
    session_id: UUID
    expires_at: datetime

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN
