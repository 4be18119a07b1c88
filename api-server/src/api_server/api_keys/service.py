from datetime import datetime, timedelta
from uuid import UUID

from api_server.api_keys.errors import ApiKeyInvalid
from api_server.api_keys.schemas import ApiKeyIn
from api_server.auth import api_keys
from api_server.auth.actor import Actor
from api_server.auth.api_keys import NewKey
from api_server.auth.errors import RoleMissing
from api_server.auth.models import ApiKey
from api_server.auth.permissions import Action
from api_server.database import AsyncSession, utc_now
from api_server.deployments import service as deployments
from api_server.pagination import PageParams, Rows
from api_server.projects import service as projects
from api_server.settings import Settings
from platform_kit.contract.access import Scope
from platform_kit.contract.problem import Issue, IssueCode


async def make(session: AsyncSession, actor: Actor, body: ApiKeyIn, settings: Settings) -> tuple[ApiKey, str]:
    """Make a key for what the actor may see; returns its row and its text.

    Raises ProjectNotFound, EndpointNotFound, ApiKeyInvalid, TooManyApiKeys.
    """
    expires_at = _end(body, settings)
    project_id = await _bound_to(session, actor, body)
    new = NewKey(
        name=body.name,
        scopes=body.scopes,
        project_id=project_id,
        endpoint=body.endpoint,
        expires_at=expires_at,
    )
    return await api_keys.make(session, actor, new)


async def list_keys(
    session: AsyncSession, actor: Actor, user_id: UUID | None, params: PageParams
) -> Rows[ApiKey]:
    """The actor's own, or for an administrator also another user's."""
    if user_id not in (None, actor.user_id) and not actor.is_admin:
        raise RoleMissing("Only an administrator may list the keys of others; leave out user_id.")
    return await api_keys.list_of(session, user_id or actor.user_id, params)


async def get(session: AsyncSession, actor: Actor, key_id: UUID) -> ApiKey:
    return await api_keys.get(session, actor, key_id)


async def revoke(session: AsyncSession, actor: Actor, key_id: UUID) -> None:
    await api_keys.revoke(session, actor, key_id)


async def _bound_to(session: AsyncSession, actor: Actor, body: ApiKeyIn) -> UUID | None:
    if body.project_id is not None:
        await projects.require(session, actor, body.project_id, Action.PROJECT_READ)
    if body.endpoint is None:
        return body.project_id
    if body.scopes != [Scope.PREDICT]:
        raise _invalid("scopes", "a key for one endpoint can have the scope predict only")
    model, _ = await deployments.get_endpoint(session, actor, body.endpoint)
    if body.project_id not in (None, model.project_id):
        raise _invalid("endpoint", "the endpoint is in another project than project_id says")
    return model.project_id


def _end(body: ApiKeyIn, settings: Settings) -> datetime | None:
    if body.expires_at is not None and body.expires_at <= utc_now():
        raise _invalid("expires_at", "a time that is still to come", IssueCode.OUT_OF_RANGE)
    if "expires_at" in body.model_fields_set or settings.api_key_days == 0:
        return body.expires_at
    return utc_now() + timedelta(days=settings.api_key_days)


def _invalid(field: str, expected: str, code: IssueCode = IssueCode.UNKNOWN_VALUE) -> ApiKeyInvalid:
    issue = Issue(pointer=f"/{field}", field=field, code=code, expected=expected)
    return ApiKeyInvalid(f"Please mend {field}: {expected}.", errors=[issue])
