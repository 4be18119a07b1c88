import asyncio
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update

from api_server.audit_trail import AuditEntry
from api_server.auth.models import RefreshToken, Session, User
from api_server.database import Sessions, transaction
from api_server.settings import Settings
from tests.api_server.factories import PASSWORD, SignedIn

ACCOUNT = {"email": "Ada@example.com", "username": "ada", "password": PASSWORD}


async def log_in(client: httpx2.AsyncClient, name: str = "ada", password: str = PASSWORD) -> httpx2.Response:
    return await client.post("/auth/token", data={"username": name, "password": password})


async def refresh(client: httpx2.AsyncClient, token: str) -> httpx2.Response:
    return await client.post("/auth/refresh", json={"refresh_token": token})


async def me(client: httpx2.AsyncClient, access_token: str) -> int:
    answer = await client.get("/auth/me", headers={"Authorization": f"Bearer {access_token}"})
    return answer.status_code


class TestRegister:
    async def test_makes_an_account_with_the_role_of_the_settings(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post("/auth/register", json={**ACCOUNT, "full_name": "Ada L."})

        body = answer.json()
        assert answer.status_code == 201
        assert (body["email"], body["username"], body["full_name"]) == ("Ada@example.com", "ada", "Ada L.")
        assert (body["role"], body["is_active"]) == ("data_scientist", True)
        assert "password" not in answer.text

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"role": "admin"}, "role"),
            ({"is_active": True}, "is_active"),
            ({"id": "00000000-0000-4000-8000-000000000000"}, "id"),
            ({"email": "nobody"}, "email"),
            ({"email": "a@b c"}, "email"),
            ({"username": "ab"}, "username"),
            ({"username": "has space"}, "username"),
            ({"username": "an@sign"}, "username"),
            ({"password": "2few!"}, "password"),
            ({"password": "x" * 129}, "password"),
            ({"password": "with a \0 inside"}, "password"),
        ],
    )
    async def test_names_what_is_wrong_and_repeats_no_password(
        self, client: httpx2.AsyncClient, change: dict[str, Any], field: str
    ) -> None:
        answer = await client.post("/auth/register", json={**ACCOUNT, **change})

        assert answer.status_code == 422
        assert [each["field"] for each in answer.json()["errors"]] == [field]
        assert ACCOUNT["password"] not in answer.text
        assert field != "password" or str(change["password"]) not in answer.text

    @pytest.mark.parametrize("again", [{"email": "ada@EXAMPLE.com"}, {"username": "ADA"}])
    async def test_knows_a_name_in_any_case(self, client: httpx2.AsyncClient, again: dict[str, str]) -> None:
        await client.post("/auth/register", json=ACCOUNT)
        other = {"email": "b@example.com", "username": "b-b", "password": PASSWORD}

        answer = await client.post("/auth/register", json={**other, **again})

        assert (answer.status_code, answer.json()["code"]) == (409, "account_taken")

    async def test_by_many_at_once_makes_one_account(self, client: httpx2.AsyncClient) -> None:
        answers = await asyncio.gather(*(client.post("/auth/register", json=ACCOUNT) for _ in range(8)))

        assert sorted(each.status_code for each in answers) == [201] + [409] * 7


class TestToken:
    @pytest.mark.parametrize("name", ["ada", "ADA", "ada@example.com"])
    async def test_takes_the_user_name_or_the_address(self, client: httpx2.AsyncClient, name: str) -> None:
        await client.post("/auth/register", json=ACCOUNT)

        answer = await log_in(client, name)

        body = answer.json()
        assert (answer.status_code, body["token_type"], body["expires_in"]) == (200, "bearer", 600)
        assert answer.headers["Cache-Control"] == "no-store"
        assert await me(client, body["access_token"]) == 200

    async def test_says_the_same_of_a_wrong_password_and_an_unknown_name(
        self, client: httpx2.AsyncClient
    ) -> None:
        await client.post("/auth/register", json=ACCOUNT)

        wrong, unknown = await log_in(client, password="wrong password"), await log_in(client, "nobody")

        assert wrong.status_code == unknown.status_code == 401
        assert wrong.headers["WWW-Authenticate"] == "Bearer"
        assert {**wrong.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}

    async def test_is_refused_to_a_disabled_account(
        self, client: httpx2.AsyncClient, maker: SignedIn, sessions: Sessions
    ) -> None:
        async with transaction(sessions) as session:
            await session.execute(update(User).values(is_active=False))

        assert (await log_in(client, maker.username)).status_code == 401
        assert (await maker.http.get("/auth/me")).status_code == 401
        assert (await refresh(client, maker.refresh_token)).status_code == 401

    async def test_keeps_only_hashes(self, maker: SignedIn, sessions: Sessions) -> None:
        async with transaction(sessions) as session:
            user = (await session.scalars(select(User))).one()
            token = (await session.scalars(select(RefreshToken))).one()

        assert user.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert maker.refresh_token not in token.sha256


class TestRefresh:
    async def test_gives_the_next_pair_and_the_same_one_within_the_grace(
        self, client: httpx2.AsyncClient, maker: SignedIn
    ) -> None:
        first = (await refresh(client, maker.refresh_token)).json()

        again = (await refresh(client, maker.refresh_token)).json()

        assert first == again
        assert first["refresh_token"] != maker.refresh_token
        assert await me(client, first["access_token"]) == 200
        assert (await refresh(client, first["refresh_token"])).status_code == 200

    async def test_after_the_grace_ends_the_session(
        self, client: httpx2.AsyncClient, maker: SignedIn, settings: Settings
    ) -> None:
        first = (await refresh(client, maker.refresh_token)).json()
        await asyncio.sleep(settings.refresh_grace_seconds + 0.2)

        replay = await refresh(client, maker.refresh_token)

        assert (replay.status_code, replay.json()["code"]) == (401, "refresh_token_invalid")
        assert (await refresh(client, first["refresh_token"])).status_code == 401
        assert await me(client, first["access_token"]) == 401

    async def test_by_many_at_once_never_forks(self, client: httpx2.AsyncClient, maker: SignedIn) -> None:
        answers = await asyncio.gather(*(refresh(client, maker.refresh_token) for _ in range(8)))

        assert {each.json()["refresh_token"] for each in answers if each.status_code == 200} != set()
        assert len({each.text for each in answers if each.status_code == 200}) == 1

    async def test_by_32_at_once_leaves_one_lineage_and_throws_nobody_out(
        self, client: httpx2.AsyncClient, maker: SignedIn, sessions: Sessions
    ) -> None:
        answers = await asyncio.gather(*(refresh(client, maker.refresh_token) for _ in range(32)))

        assert {each.status_code for each in answers} == {200}
        assert len({each.text for each in answers}) == 1
        async with transaction(sessions) as session:
            unused = (await session.scalars(select(RefreshToken).where(RefreshToken.used_at.is_(None)))).all()
        assert len(unused) == 1
        assert (await refresh(client, answers[0].json()["refresh_token"])).status_code == 200

    async def test_of_a_grandparent_ends_the_family_within_the_grace_and_is_audited(
        self, client: httpx2.AsyncClient, maker: SignedIn, sessions: Sessions
    ) -> None:
        first = (await refresh(client, maker.refresh_token)).json()
        second = (await refresh(client, first["refresh_token"])).json()

        replay = await refresh(client, maker.refresh_token)

        unknown = await refresh(client, "0" * 64)
        same = ("status", "code", "detail", "title")
        assert [replay.json()[each] for each in same] == [unknown.json()[each] for each in same]
        assert (await refresh(client, second["refresh_token"])).status_code == 401
        assert await me(client, second["access_token"]) == 401
        async with transaction(sessions) as session:
            entry = await session.scalar(select(AuditEntry).where(AuditEntry.code == "refresh_token_reused"))
        assert entry is not None
        assert (entry.outcome, entry.user_id, entry.request_id) == (
            "refused",
            maker.id,
            replay.headers["X-Request-ID"],
        )

    async def test_survives_a_lost_answer(self, client: httpx2.AsyncClient, maker: SignedIn) -> None:
        await refresh(client, maker.refresh_token)  # the answer never arrives

        retry = await refresh(client, maker.refresh_token)

        assert await me(client, retry.json()["access_token"]) == 200

    @pytest.mark.parametrize("token", ["x", "é", "0" * 64, "0" * 200])
    async def test_refuses_what_it_never_gave(self, client: httpx2.AsyncClient, token: str) -> None:
        assert (await refresh(client, token)).status_code == 401

    async def test_takes_no_access_token_and_the_other_way_round(
        self, client: httpx2.AsyncClient, maker: SignedIn
    ) -> None:
        access = maker.http.headers["Authorization"].removeprefix("Bearer ")

        assert (await refresh(client, access[:200])).status_code == 401
        assert await me(client, maker.refresh_token) == 401


class TestLogout:
    async def test_ends_the_access_token_and_the_refresh_token(
        self, client: httpx2.AsyncClient, maker: SignedIn
    ) -> None:
        assert (await maker.http.post("/auth/logout")).status_code == 204

        assert (await maker.http.get("/auth/me")).status_code == 401
        assert (await refresh(client, maker.refresh_token)).status_code == 401


class TestSessions:
    async def test_are_listed_and_ended_one_by_one(
        self, client: httpx2.AsyncClient, maker: SignedIn, other: SignedIn
    ) -> None:
        second = (await log_in(client, maker.username)).json()["access_token"]
        listed = (await maker.http.get("/auth/sessions")).json()["items"]
        foreign = (await other.http.get("/auth/sessions")).json()["items"][0]["id"]
        (not_this,) = [each["id"] for each in listed if not each["is_current"]]

        assert len(listed) == 2
        assert (await maker.http.delete(f"/auth/sessions/{foreign}")).status_code == 404
        assert (await maker.http.delete(f"/auth/sessions/{not_this}")).status_code == 204
        assert await me(client, second) == 401
        assert (await maker.http.get("/auth/me")).status_code == 200

    async def test_end_all_at_once(
        self, client: httpx2.AsyncClient, maker: SignedIn, other: SignedIn
    ) -> None:
        second = (await log_in(client, maker.username)).json()["access_token"]

        assert (await maker.http.delete("/auth/sessions")).status_code == 204

        assert await me(client, second) == 401
        assert (await maker.http.get("/auth/me")).status_code == 401
        assert (await other.http.get("/auth/me")).status_code == 200

    async def test_end_when_the_password_changes_but_for_this_one(
        self, client: httpx2.AsyncClient, maker: SignedIn
    ) -> None:
        second = (await log_in(client, maker.username)).json()["access_token"]
        new = {"current_password": PASSWORD, "new_password": "another long one"}

        wrong = await maker.http.post("/auth/password", json={**new, "current_password": "not it at all"})
        right = await maker.http.post("/auth/password", json=new)

        assert (wrong.status_code, wrong.json()["code"], right.status_code) == (403, "password_wrong", 204)
        assert await me(client, second) == 401
        assert (await maker.http.get("/auth/me")).status_code == 200
        assert (await log_in(client, maker.username, "another long one")).status_code == 200


class TestMe:
    async def test_needs_a_credential_and_says_how_to_get_one(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/auth/me")

        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "/api/v1/auth/token" in answer.json()["detail"]

    async def test_changes_what_is_mine_to_change(self, maker: SignedIn, other: SignedIn) -> None:
        seen = (await maker.http.get("/auth/me")).headers["ETag"]

        changed = await maker.http.patch("/auth/me", json={"full_name": "Ada"}, headers={"If-Match": seen})
        stale = await maker.http.patch("/auth/me", json={"full_name": "Eve"}, headers={"If-Match": seen})
        taken = await maker.http.patch("/auth/me", json={"email": f"{other.username}@example.com"})
        role = await maker.http.patch("/auth/me", json={"role": "admin"})

        assert (changed.status_code, changed.json()["full_name"]) == (200, "Ada")
        assert [each.status_code for each in (stale, taken, role)] == [412, 409, 422]

    async def test_is_refused_when_the_session_has_run_out(self, maker: SignedIn, sessions: Sessions) -> None:
        async with transaction(sessions) as session:
            await session.execute(update(Session).values(expires_at=Session.created_at))

        assert (await maker.http.get("/auth/me")).status_code == 401


class TestIntrospect:
    async def test_says_who_and_where(self, internal: httpx2.AsyncClient, maker: SignedIn) -> None:
        project = (await maker.http.post("/projects", json={"name": "p"})).json()["id"]
        token = maker.http.headers["Authorization"].removeprefix("Bearer ")

        answer = await internal.post("/access/introspect", json={"kind": "bearer", "credential": token})

        principal = answer.json()["principal"]
        assert (principal["username"], principal["role"]) == (maker.username, "data_scientist")
        assert principal["project_ids"] == [project]

    @pytest.mark.parametrize(
        "body", [{"kind": "bearer", "credential": "x"}, {"kind": "api_key", "credential": "mlp_x"}]
    )
    async def test_says_nobody_of_what_does_not_hold(
        self, internal: httpx2.AsyncClient, body: dict[str, str]
    ) -> None:
        assert (await internal.post("/access/introspect", json=body)).json() == {"principal": None}

    async def test_answers_our_own_processes_only(
        self, internal: httpx2.AsyncClient, maker: SignedIn
    ) -> None:
        internal.headers["X-Internal-Token"] = "guessed"

        answer = await internal.post("/access/introspect", json={"kind": "bearer", "credential": "x"})

        assert (answer.status_code, answer.json()["code"]) == (401, "internal_only")
