"""The only way in which a route learns who calls."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer

from api_server.auth import service
from api_server.auth.actor import Actor
from api_server.auth.errors import NotSignedIn, RoleMissing
from api_server.database import SessionsDep, transaction
from platform_kit.contract.access import Role

_bearer = OAuth2PasswordBearer(tokenUrl="/api/v1/auth/token", auto_error=False, scheme_name="password")


async def _current_actor(
    request: Request, sessions: SessionsDep, token: Annotated[str | None, Depends(_bearer)]
) -> Actor:
    """In a short transaction of its own: a route that waits holds no connection for having asked."""
    if token is None:
        raise NotSignedIn
    async with transaction(sessions) as db:
        return await service.identify(db, token, request.state.settings)


CurrentActor = Annotated[Actor, Depends(_current_actor)]


async def _maker(actor: CurrentActor) -> Actor:
    if actor.role is Role.USER:
        raise RoleMissing(
            "Creating, training and deploying need the role data_scientist; an administrator can give it."
        )
    return actor


MakerActor = Annotated[Actor, Depends(_maker)]
"""Somebody who may create, train and deploy where the project allows it."""
