from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api_server.auth.models import ApiKey
from platform_kit.contract.access import Scope
from platform_kit.contract.moments import Moment


def _each_once(scopes: list[Scope]) -> list[Scope]:
    if len(set(scopes)) < len(scopes):
        raise ValueError("each scope once")
    return scopes


class ApiKeyIn(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "web shop", "scopes": ["predict"]}]}
    )

    name: str = Field(min_length=1, max_length=100)
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope)), AfterValidator(_each_once)]
    project_id: UUID | None = Field(default=None, description="the only project that the key is for")
    endpoint: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="the only endpoint; with the scope predict alone",
    )
    expires_at: Moment | None = Field(
        default=None, description="left out: after API_KEY_DAYS; null: it does not end by itself"
    )


class ApiKeyOut(BaseModel):
    id: UUID
    name: str
    prefix: str = Field(description="how the key begins, to tell it from others")
    scopes: list[Scope]
    user_id: UUID
    project_id: UUID | None
    endpoint: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="to the minute")
    last_used_address: str | None = Field(description="of the last use on the API; predictions do not tell")


class ApiKeyMade(ApiKeyOut):
    secret: str = Field(description="the key itself, shown this once; send it as X-API-Key")


def api_key_out(key: ApiKey) -> ApiKeyOut:
    return ApiKeyOut.model_validate(key, from_attributes=True)
