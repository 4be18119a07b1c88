"""API keys, kept as their SHA-256. What one may be bound to, `api_keys` (the room) decides."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from api_server import notices
from api_server.audit_trail import Deed, record
from api_server.auth import key_format, repository
from api_server.auth.actor import Actor
from api_server.auth.errors import ApiKeyNotFound, TooManyApiKeys
from api_server.auth.models import ApiKey
from api_server.auth.permissions import Action
from api_server.database import AsyncSession, utc_now
from api_server.pagination import PageParams, Rows
from platform_kit.contract.access import Notice, NoticeKind, Scope

MOST_LIVE_KEYS = 100


@dataclass(frozen=True)
class NewKey:
    """project_id, endpoint: what the key is bound to; None: nothing. expires_at: None: it does not end by itself."""

    name: str
    scopes: list[Scope]
    project_id: UUID | None
    endpoint: str | None
    expires_at: datetime | None


async def make(db: AsyncSession, actor: Actor, new: NewKey) -> tuple[ApiKey, str]:
    """Returns the key's row and its text, which is kept nowhere."""
    if await repository.count_live_keys(db, actor.user_id) >= MOST_LIVE_KEYS:
        raise TooManyApiKeys(f"You have {MOST_LIVE_KEYS} live keys; revoke some that are not used.")
    minted = key_format.mint()
    key = ApiKey(
        id=uuid4(),
        user_id=actor.user_id,
        name=new.name,
        prefix=minted.prefix,
        sha256=minted.sha256,
        scopes=sorted(new.scopes),
        project_id=new.project_id,
        endpoint=new.endpoint,
        expires_at=new.expires_at,
    )
    db.add(key)
    await db.flush()
    details = {"prefix": key.prefix, "scopes": key.scopes, "endpoint": key.endpoint}
    deed = Deed(Action.API_KEY_MANAGE, "api_key", str(key.id), project_id=key.project_id, details=details)
    record(db, actor.who, deed)
    return key, minted.text


async def list_of(db: AsyncSession, user_id: UUID, params: PageParams) -> Rows[ApiKey]:
    return await repository.list_keys(db, user_id, params)


async def get(db: AsyncSession, actor: Actor, key_id: UUID) -> ApiKey:
    """One's own key; to an administrator, anybody's."""
    key = await repository.find_key(db, key_id, user_id=None if actor.is_admin else actor.user_id)
    if key is None:
        raise ApiKeyNotFound
    return key


async def revoke(db: AsyncSession, actor: Actor, key_id: UUID) -> ApiKey:
    key = await get(db, actor, key_id)
    if key.revoked_at is None:
        key.revoked_at = utc_now()
        notices.tell(db, Notice(kind=NoticeKind.KEY, id=key.id))
        details = {"prefix": key.prefix, "change": "revoked"}
        deed = Deed(Action.API_KEY_MANAGE, "api_key", str(key.id), project_id=key.project_id, details=details)
        record(db, actor.who, deed)
    return key
