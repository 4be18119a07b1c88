"""From a credential to who sends it, as the database has it now. Whatever is wrong with it, the answer is the same."""

from dataclasses import dataclass, replace

from api_server.auth import key_format, repository
from api_server.auth.actor import Actor, KeyGrant
from api_server.auth.errors import NotSignedIn
from api_server.auth.sessions import tokens_of
from api_server.auth.tokens import TokenInvalid
from api_server.database import AsyncSession
from api_server.settings import Settings
from platform_kit.contract.access import CredentialKind, Role, Scope


@dataclass(frozen=True)
class Presented:
    """What a caller shows, and from where."""

    kind: CredentialKind
    credential: str
    address: str | None = None
    request_id: str | None = None


async def identify(db: AsyncSession, presented: Presented, settings: Settings) -> Actor:
    """Raises NotSignedIn."""
    if presented.kind is CredentialKind.API_KEY:
        return await _by_key(db, presented)
    return await _by_token(db, presented, settings)


async def again(db: AsyncSession, actor: Actor) -> Actor:
    """The actor as things stand now, for an answer that takes long; raises NotSignedIn. A token may end meanwhile."""
    if actor.key is None:
        user = await repository.find_live(db, actor.user_id, actor.credential_id)
    else:
        found = await repository.find_live_key(db, key_id=actor.credential_id)
        user = found[1] if found else None
    if user is None:
        raise NotSignedIn
    return replace(actor, role=Role(user.role))


async def _by_token(db: AsyncSession, presented: Presented, settings: Settings) -> Actor:
    try:
        claims = tokens_of(settings).read(presented.credential)
    except TokenInvalid:
        raise NotSignedIn from None
    user = await repository.find_live(db, claims.user_id, claims.session_id)
    if user is None:
        raise NotSignedIn
    return Actor(
        user_id=user.id,
        username=user.username,
        role=Role(user.role),
        credential_id=claims.session_id,
        expires_at=claims.expires_at,
        address=presented.address,
        request_id=presented.request_id,
    )


async def _by_key(db: AsyncSession, presented: Presented) -> Actor:
    parsed = key_format.parse(presented.credential)
    found = await repository.find_live_key(db, sha256=parsed.sha256) if parsed else None
    if found is None:
        raise NotSignedIn
    key, user = found
    await repository.note_key_use(db, key.id, presented.address)
    return Actor(
        user_id=user.id,
        username=user.username,
        role=Role(user.role),
        credential_id=key.id,
        expires_at=key.expires_at,
        key=KeyGrant(
            scopes=frozenset(Scope(each) for each in key.scopes),
            project_id=key.project_id,
            endpoint=key.endpoint,
        ),
        address=presented.address,
        request_id=presented.request_id,
    )
