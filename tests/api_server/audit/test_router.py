from typing import Any

import httpx2
import pytest

from platform_kit.contract.access import Role
from tests.api_server.conftest import SignIn
from tests.api_server.factories import PASSWORD, SignedIn


@pytest.fixture
async def admin(sign_in: SignIn) -> SignedIn:
    return await sign_in(Role.ADMIN)


async def entries(admin: SignedIn, **filters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await admin.http.get("/audit", params=filters)).json()["items"]
    return found


class TestList:
    async def test_says_who_did_what_when_from_where(self, admin: SignedIn, maker: SignedIn) -> None:
        answer = await admin.http.patch(f"/users/{maker.id}", json={"role": "user"})

        (entry,) = await entries(admin, request_id=answer.headers["X-Request-ID"])

        assert (entry["user_id"], entry["username"]) == (str(admin.id), admin.username)
        assert (entry["action"], entry["outcome"]) == ("user:administer", "done")
        assert (entry["object_type"], entry["object_id"]) == ("user", str(maker.id))
        assert entry["details"] == {"from": {"role": "data_scientist"}, "to": {"role": "user"}}
        assert entry["address"] == "127.0.0.1"
        assert entry["credential"].startswith("session:")

    async def test_tells_of_refusals(
        self, admin: SignedIn, maker: SignedIn, other: SignedIn, client: httpx2.AsyncClient
    ) -> None:
        project = (await other.http.post("/projects", json={"name": "p"})).json()["id"]
        answers = [
            await client.get("/projects"),
            await client.get("/projects", headers={"Authorization": "Bearer forged"}),
            await maker.http.get("/users"),
            await maker.http.delete(f"/projects/{project}"),
            await client.post("/auth/token", data={"username": maker.username, "password": "guess"}),
            await client.post("/auth/token", data={"username": "nobody", "password": "guess"}),
        ]

        found = [
            (await entries(admin, request_id=each.headers["X-Request-ID"], outcome="refused"))
            for each in answers
        ]

        assert [len(each) for each in found] == [1] * 6
        said = [(each[0]["action"], each[0]["status"], each[0]["username"]) for each in found]
        assert said == [
            ("project:read", 401, None),
            ("project:read", 401, None),
            ("user:administer", 403, maker.username),
            ("project:delete", 404, maker.username),
            ("account:log_in", 401, None),
            ("account:log_in", 401, None),
        ]
        assert found[3][0]["object_id"] == project
        assert [found[4][0]["object_id"], found[5][0]["object_id"]] == [str(maker.id), None]

    async def test_holds_nothing_secret(self, admin: SignedIn, client: httpx2.AsyncClient) -> None:
        secret = "canary-of-a-password"
        account = {"username": "canary", "email": "canary@example.com", "password": secret}
        await client.post("/auth/register", json=account)
        form = {"username": secret, "password": secret}
        await client.post("/auth/token", data=form)
        await client.get("/projects", headers={"Authorization": f"Bearer {secret}", "X-API-Key": secret})

        assert secret not in (await admin.http.get("/audit?limit=200")).text

    async def test_filters(self, admin: SignedIn, maker: SignedIn) -> None:
        await maker.http.post("/api-keys", json={"name": "k", "scopes": ["read"]})

        assert {each["user_id"] for each in await entries(admin, user_id=str(maker.id))} == {str(maker.id)}
        assert [each["action"] for each in await entries(admin, action="api_key:manage")] == [
            "api_key:manage"
        ]
        assert await entries(admin, until="2020-01-01T00:00:00Z") == []
        assert await entries(admin, address="192.0.2.1") == []
        assert (await admin.http.get("/audit?action=everything")).status_code == 422

    async def test_pages_through_all(self, admin: SignedIn, maker: SignedIn) -> None:
        seen: list[int] = []
        cursor: str | None = None
        while True:
            params = {"limit": "2", "sort": "created_at", **({"cursor": cursor} if cursor else {})}
            page = (await admin.http.get("/audit", params=params)).json()
            seen += [each["seq"] for each in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break

        assert seen == list(range(1, len(seen) + 1))

    async def test_is_open_to_a_key_of_an_administrator(
        self, client: httpx2.AsyncClient, admin: SignedIn
    ) -> None:
        made = await admin.http.post("/api-keys", json={"name": "siem", "scopes": ["audit"]})

        answer = await client.get("/audit", headers={"X-API-Key": made.json()["secret"]})

        assert answer.status_code == 200

    async def test_of_a_login_names_the_account(
        self, client: httpx2.AsyncClient, admin: SignedIn, maker: SignedIn
    ) -> None:
        form = {"username": maker.username, "password": PASSWORD}
        answer = await client.post("/auth/token", data=form)

        (entry,) = await entries(admin, request_id=answer.headers["X-Request-ID"])

        assert (entry["action"], entry["username"], entry["outcome"]) == (
            "account:log_in",
            maker.username,
            "done",
        )
