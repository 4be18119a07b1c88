import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update

from api_server.auth import key_format
from api_server.auth.api_keys import MOST_LIVE_KEYS
from api_server.auth.models import ApiKey
from api_server.database import Sessions, transaction
from platform_kit.contract.access import Role
from tests.api_server.conftest import SignIn
from tests.api_server.factories import SignedIn, Worker, trained_model, upload


async def make(who: SignedIn, **fields: Any) -> dict[str, Any]:
    answer = await who.http.post("/api-keys", json={"name": "k", "scopes": ["read"], **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def with_key(client: httpx2.AsyncClient, secret: str) -> "Caller":
    return Caller(client, secret)


class Caller:
    """Sends a key, and nothing else."""

    def __init__(self, client: httpx2.AsyncClient, secret: str) -> None:
        self._client, self._headers = client, {"X-API-Key": secret}

    async def __call__(self, method: str, path: str, **more: Any) -> httpx2.Response:
        return await self._client.request(method, path, headers=self._headers, **more)


class TestCreate:
    async def test_shows_the_secret_once(
        self, client: httpx2.AsyncClient, maker: SignedIn, sessions: Sessions
    ) -> None:
        made = await make(maker)

        assert re.fullmatch(r"mlp_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}", made["secret"])
        assert key_format.parse(made["secret"]) is not None
        assert made["secret"].startswith(made["prefix"])
        read = await maker.http.get(f"/api-keys/{made['id']}")
        listed = await maker.http.get("/api-keys")
        assert made["secret"] not in read.text + listed.text
        async with transaction(sessions) as session:
            kept = (await session.scalars(select(ApiKey))).one()
        assert made["secret"][13:] not in str(vars(kept))

    async def test_ends_by_itself_unless_told_otherwise(self, maker: SignedIn) -> None:
        usual, endless = await make(maker), await make(maker, expires_at=None)

        left = datetime.fromisoformat(usual["expires_at"]) - datetime.now(UTC)
        assert timedelta(days=89) < left <= timedelta(days=90)
        assert endless["expires_at"] is None

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"scopes": []}, "scopes"),
            ({"scopes": ["everything"]}, "scopes"),
            ({"scopes": ["read", "read"]}, "scopes"),
            ({"name": ""}, "name"),
            ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
            ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"),
            ({"expires_at": 1893456000}, "expires_at"),
            ({"expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
            ({"user_id": "00000000-0000-4000-8000-000000000000"}, "user_id"),
            ({"sha256": "0" * 64}, "sha256"),
        ],
    )
    async def test_names_what_is_wrong(self, maker: SignedIn, change: dict[str, Any], field: str) -> None:
        answer = await maker.http.post("/api-keys", json={"name": "k", "scopes": ["read"], **change})

        assert answer.status_code == 422
        assert [each["field"] for each in answer.json()["errors"]] == [field]

    async def test_binds_only_to_what_its_maker_sees(self, maker: SignedIn, other: SignedIn) -> None:
        foreign = (await other.http.post("/projects", json={"name": "p"})).json()["id"]

        answers = [
            await maker.http.post("/api-keys", json={"name": "k", "scopes": ["read"], "project_id": each})
            for each in (foreign, "00000000-0000-4000-8000-000000000000")
        ]

        assert {each.status_code for each in answers} == {404}
        assert len({(each.json()["code"], each.json()["detail"]) for each in answers}) == 1

    async def test_binds_to_an_endpoint_for_predictions_only(
        self, maker: SignedIn, other: SignedIn, worker: Worker
    ) -> None:
        model = await trained_model(maker, worker)
        body = {"name": "k", "scopes": ["predict"], "endpoint": model["endpoint"]}

        made = await maker.http.post("/api-keys", json=body)
        more = await maker.http.post("/api-keys", json={**body, "scopes": ["predict", "read"]})
        foreign = await other.http.post("/api-keys", json=body)

        assert (made.status_code, made.json()["project_id"]) == (201, model["project_id"])
        assert (more.status_code, foreign.status_code) == (422, 404)

    async def test_is_done_by_no_key(self, client: httpx2.AsyncClient, maker: SignedIn) -> None:
        made = await make(maker, scopes=["read", "write", "deploy", "predict", "audit"])
        call = with_key(client, made["secret"])

        answers = [
            await call("POST", "/api-keys", json={"name": "k", "scopes": ["read"]}),
            await call("GET", "/api-keys"),
            await call("DELETE", f"/api-keys/{made['id']}"),
            await call("GET", "/auth/sessions"),
            await call("POST", "/auth/logout"),
            await call("PATCH", "/auth/me", json={"full_name": "x"}),
        ]

        assert {(each.status_code, each.json()["code"]) for each in answers} == {(403, "session_needed")}

    async def test_has_an_end_also_when_many_are_made_at_once(
        self, maker: SignedIn, sessions: Sessions
    ) -> None:
        await make(maker)
        async with transaction(sessions) as session:
            key = (await session.scalars(select(ApiKey))).one()
            for number in range(MOST_LIVE_KEYS - 3):
                copy = {c.key: getattr(key, c.key) for c in ApiKey.__table__.columns}
                session.add(ApiKey(**{**copy, "id": None, "sha256": f"{number:064}"}))

        body = {"name": "k", "scopes": ["read"]}
        answers = await asyncio.gather(*(maker.http.post("/api-keys", json=body) for _ in range(8)))

        assert sorted(each.status_code for each in answers) == [201] * 2 + [409] * 6


class TestUse:
    async def test_reaches_as_far_as_its_scopes(self, client: httpx2.AsyncClient, maker: SignedIn) -> None:
        read = with_key(client, (await make(maker))["secret"])
        write = with_key(client, (await make(maker, scopes=["write"]))["secret"])

        assert (await read("GET", "/projects")).status_code == 200
        assert (await read("GET", "/auth/me")).json()["username"] == maker.username
        refused = await read("POST", "/projects", json={"name": "p"})
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
        assert (await write("POST", "/projects", json={"name": "p"})).status_code == 201
        assert (await write("GET", "/projects")).status_code == 403

    async def test_does_no_more_than_its_owner_may_now(
        self, client: httpx2.AsyncClient, sign_in: SignIn
    ) -> None:
        admin, owner = await sign_in(Role.ADMIN), await sign_in()
        write = with_key(client, (await make(owner, scopes=["write"]))["secret"])
        audit = with_key(client, (await make(owner, scopes=["audit"]))["secret"])
        await admin.http.patch(f"/users/{owner.id}", json={"role": "user"})

        assert (await write("POST", "/projects", json={"name": "p"})).status_code == 403
        assert (await audit("GET", "/audit")).status_code == 403

    async def test_stays_in_its_project(self, client: httpx2.AsyncClient, sign_in: SignIn) -> None:
        owner = await sign_in(Role.ADMIN)
        inside = (await owner.http.post("/projects", json={"name": "inside"})).json()["id"]
        outside = (await owner.http.post("/projects", json={"name": "outside"})).json()["id"]
        hidden = await upload(owner, project_id=outside)
        scopes = ["read", "write"]
        call = with_key(client, (await make(owner, scopes=scopes, project_id=inside))["secret"])

        assert [each["id"] for each in (await call("GET", "/projects")).json()["items"]] == [inside]
        assert (await call("GET", f"/projects/{outside}")).status_code == 404
        assert (await call("GET", f"/datasets/{hidden['id']}")).status_code == 404
        assert (await call("GET", "/datasets")).json()["total"] == 0
        body = {"name": "m", "model_type": "regression", "framework": "xgboost", "dataset_id": hidden["id"]}
        assert (await call("POST", "/models", json={**body, "project_id": inside})).status_code == 404
        assert (await call("POST", "/models", json={**body, "project_id": outside})).status_code == 404
        created = await call("POST", "/projects", json={"name": "new"})
        assert (created.status_code, created.json()["code"]) == (403, "key_is_bound")

    async def test_puts_what_names_no_project_into_its_own(
        self, client: httpx2.AsyncClient, maker: SignedIn
    ) -> None:
        inside = (await maker.http.post("/projects", json={"name": "inside"})).json()["id"]
        call = with_key(client, (await make(maker, scopes=["write"], project_id=inside))["secret"])

        dataset = await call("POST", "/datasets", data={"name": "d"}, files={"file": ("d.csv", b"a\n1\n")})

        assert dataset.json()["project_id"] == inside

    async def test_ends_when_it_is_revoked_expired_or_its_owner_disabled(
        self, client: httpx2.AsyncClient, maker: SignedIn, sign_in: SignIn, sessions: Sessions
    ) -> None:
        admin = await sign_in(Role.ADMIN)
        made = [await make(maker) for _ in range(3)]
        calls = [with_key(client, each["secret"]) for each in made]
        assert [(await call("GET", "/auth/me")).status_code for call in calls] == [200] * 3

        assert (await maker.http.delete(f"/api-keys/{made[0]['id']}")).status_code == 204
        async with transaction(sessions) as session:
            past = {"expires_at": ApiKey.created_at}
            await session.execute(update(ApiKey).where(ApiKey.id == made[1]["id"]).values(past))
        answers = [await call("GET", "/auth/me") for call in calls]
        await admin.http.patch(f"/users/{maker.id}", json={"is_active": False})
        answers.append(await calls[2]("GET", "/auth/me"))

        assert [each.status_code for each in answers] == [401, 401, 200, 401]

    async def test_is_noted_at_most_once_a_minute(
        self, client: httpx2.AsyncClient, maker: SignedIn, sessions: Sessions
    ) -> None:
        made = await make(maker)
        call = with_key(client, made["secret"])
        assert made["last_used_at"] is None

        seen = []
        for _ in range(3):
            await call("GET", "/projects")
            seen.append((await maker.http.get(f"/api-keys/{made['id']}")).json()["last_used_at"])

        assert seen[0] is not None
        assert len(set(seen)) == 1

    async def test_in_the_wrong_header_is_told_so(self, client: httpx2.AsyncClient, maker: SignedIn) -> None:
        secret = (await make(maker))["secret"]

        answer = await client.get("/projects", headers={"Authorization": f"Bearer {secret}"})

        assert (answer.status_code, "X-API-Key" in answer.json()["detail"]) == (401, True)
        assert secret not in answer.text

    @pytest.mark.parametrize("key", ["", "x", "mlp_", "é", "Bearer x", "mlp_" + "0" * 58])
    async def test_of_something_else_is_401(self, client: httpx2.AsyncClient, key: str) -> None:
        answer = await client.get("/projects", headers=[(b"X-API-Key", key.encode())])

        assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in")

    async def test_with_a_typing_mistake_asks_no_database(
        self, client: httpx2.AsyncClient, maker: SignedIn
    ) -> None:
        secret = (await make(maker))["secret"]
        other = "0" if secret[-1] != "0" else "1"

        assert key_format.parse(secret[:-1] + other) is None
        answer = await client.get("/projects", headers={"X-API-Key": secret[:-1] + other})
        assert answer.status_code == 401


class TestManage:
    async def test_is_of_ones_own(self, maker: SignedIn, other: SignedIn) -> None:
        made = await make(maker)

        answers = [
            await other.http.get(f"/api-keys/{made['id']}"),
            await other.http.delete(f"/api-keys/{made['id']}"),
        ]

        assert {each.status_code for each in answers} == {404}
        assert (await other.http.get("/api-keys")).json()["total"] == 0
        assert (await other.http.get(f"/api-keys?user_id={maker.id}")).status_code == 403

    async def test_is_open_to_administrators(self, maker: SignedIn, sign_in: SignIn) -> None:
        admin = await sign_in(Role.ADMIN)
        made = await make(maker)

        listed = (await admin.http.get(f"/api-keys?user_id={maker.id}")).json()["items"]
        assert [each["id"] for each in listed] == [made["id"]]
        assert (await admin.http.delete(f"/api-keys/{made['id']}")).status_code == 204
        assert (await maker.http.get(f"/api-keys/{made['id']}")).json()["revoked_at"] is not None
