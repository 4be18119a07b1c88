"""The only way in which a route says what it is, learns who calls, and refuses who may not."""

from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer
from fastapi.security.utils import get_authorization_scheme_param

from api_server.audit_trail import Who
from api_server.auth import identity
from api_server.auth.actor import Actor
from api_server.auth.errors import KeyMisplaced, NotSignedIn
from api_server.auth.identity import Presented
from api_server.auth.key_format import PREFIX
from api_server.auth.permissions import Action, authorize
from api_server.database import SessionsDep, transaction
from platform_kit.contract.access import CredentialKind
from platform_kit.plumbing.rate_limits import rate_limits_of

# What the document says of the two ways in, for Swagger's button. The headers themselves are read below, in one place.
_bearer = OAuth2PasswordBearer(tokenUrl="/api/v1/auth/token", auto_error=False, scheme_name="password")
_api_key = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="api_key")


class Allowed:
    """Finds the actor and lets them pass if their role and credential are good for the action.

    What the object of the request adds (the role in its project) is asked in the room's service, which has it.
    """

    def __init__(self, action: Action) -> None:
        self.action = action

    async def __call__(
        self,
        request: Request,
        sessions: SessionsDep,
        _token: Annotated[str | None, Depends(_bearer)],
        _key: Annotated[str | None, Security(_api_key)],
    ) -> Actor:
        """In a short transaction of its own: a route that waits holds no connection for having asked."""
        request.state.action = self.action
        presented = _presented(request)
        async with transaction(sessions) as db:
            actor = await identity.identify(db, presented, request.state.settings)
        request.state.actor = actor
        await rate_limits_of(request).require_principal(str(actor.user_id))
        authorize(actor, self.action)
        return actor


class Open:
    """Marks a route that asks nobody to sign in, and what it does."""

    def __init__(self, action: Action) -> None:
        self.action = action

    async def __call__(self, request: Request) -> None:
        request.state.action = self.action


def allowed(action: Action) -> Any:
    """For a route's argument: `actor: Annotated[Actor, allowed(Action.DATASET_READ)]`."""
    return Depends(Allowed(action))


def open_to_all(action: Action) -> Any:
    """For a route's `dependencies`."""
    return Depends(Open(action))


async def _caller(request: Request) -> Who:
    return Who(address=_address(request), request_id=request.state.request_id)


Caller = Annotated[Who, Depends(_caller)]
"""Somebody who has not signed in."""


def _presented(request: Request) -> Presented:
    """A key that is sent counts, also beside a token; two of one kind are none. ml-service reads them alike."""
    headers = request.headers
    for name, kind in (("x-api-key", CredentialKind.API_KEY), ("authorization", CredentialKind.BEARER)):
        sent = headers.getlist(name)
        if len(sent) > 1:
            raise NotSignedIn
        if sent:
            credential = sent[0] if kind is CredentialKind.API_KEY else _bearer_token(sent[0])
            return Presented(kind, credential, _address(request), request.state.request_id)
    raise NotSignedIn


def _bearer_token(authorization: str) -> str:
    scheme, token = get_authorization_scheme_param(authorization)
    if scheme.lower() != "bearer":
        raise NotSignedIn
    if PREFIX.match(token):
        raise KeyMisplaced
    return token


def _address(request: Request) -> str | None:
    return request.client.host if request.client else None
