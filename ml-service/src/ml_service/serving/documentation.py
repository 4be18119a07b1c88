"""The OpenAPI document, with the address at which its reader signs in: tokens come from api-server."""

import copy

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.security import OAuth2PasswordBearer
from starlette.routing import Route

TOKEN_PATH = "/api/v1/auth/token"  # noqa: S105  # where tokens come from
SCHEME = "password"

sign_in = OAuth2PasswordBearer(tokenUrl=TOKEN_PATH, auto_error=False, scheme_name=SCHEME)


def answer_openapi(app: FastAPI, *, public_api_url: str) -> None:
    """Answer the document in place of FastAPI's own route, which cannot tell how it was reached."""

    async def openapi(request: Request) -> JSONResponse:
        document = copy.deepcopy(app.openapi())
        prefix = request.scope.get("root_path", "")
        if prefix:
            document["servers"] = [{"url": prefix}]
        flows = document["components"]["securitySchemes"][SCHEME]["flows"]
        flows["password"]["tokenUrl"] = token_url(prefix=prefix, public_api_url=public_api_url)
        return JSONResponse(document)

    assert app.openapi_url is not None
    app.router.routes.insert(0, Route(app.openapi_url, openapi, include_in_schema=False))


def token_url(*, prefix: str, public_api_url: str) -> str:
    """Behind a proxy both services have one origin, whatever its name; reached directly, api-server is elsewhere."""
    return TOKEN_PATH if prefix else public_api_url.rstrip("/") + TOKEN_PATH
