"""What our own processes show each other on `/internal`."""

import hmac
from typing import Annotated

from fastapi import Header, Request

from platform_kit.plumbing.problems import Problem


class InternalOnly(Problem):
    status, title = 401, "Internal only"

    def __init__(self) -> None:
        challenge = {"WWW-Authenticate": "InternalToken"}
        super().__init__("This route is for the platform's own processes.", headers=challenge)


async def require_internal(request: Request, x_internal_token: Annotated[str, Header()] = "") -> None:
    expected = request.state.settings.internal_token.get_secret_value()
    if not hmac.compare_digest(x_internal_token.encode(), expected.encode()):
        raise InternalOnly
