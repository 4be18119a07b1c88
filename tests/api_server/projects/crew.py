"""What the tests of projects need: a project with people in it, and what was written down about them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import httpx2
from sqlalchemy import select, update

from api_server.audit_trail import AuditEntry
from api_server.auth.models import User
from api_server.database import Sessions, transaction
from tests.api_server.factories import SignedIn

UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def new_project(who: SignedIn, name: str = "churn", **fields: Any) -> str:
    answer = await who.http.post("/projects", json={"name": name, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def try_add(owner: SignedIn, project_id: str, **body: Any) -> httpx2.Response:
    return await owner.http.post(f"/projects/{project_id}/members", json=body)


async def add(owner: SignedIn, project_id: str, who: SignedIn, role: str = "viewer") -> None:
    answer = await try_add(owner, project_id, user_id=str(who.id), role=role)
    assert answer.status_code == 201, answer.text


async def members(who: SignedIn, project_id: str) -> dict[str, str]:
    found = (await who.http.get(f"/projects/{project_id}/members")).json()["items"]
    return {each["username"]: each["role"] for each in found}


async def new_key(who: SignedIn, *scopes: str, project_id: str | None = None) -> dict[str, str]:
    """The header of an API key."""
    body = {"name": "k", "scopes": scopes, "project_id": project_id}
    answer = await who.http.post("/api-keys", json=body)
    assert answer.status_code == 201, answer.text
    return {"X-API-Key": answer.json()["secret"]}


async def disable(sessions: Sessions, user_id: UUID) -> None:
    async with transaction(sessions) as session:
        await session.execute(update(User).where(User.id == user_id).values(is_active=False))


async def written(sessions: Sessions, **wanted: Any) -> Sequence[AuditEntry]:
    async with transaction(sessions) as session:
        statement = select(AuditEntry).filter_by(**wanted).order_by(AuditEntry.seq)
        return (await session.scalars(statement)).all()
