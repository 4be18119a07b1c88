"""Who may register, what a password must be, and the ways out of and back into an account."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from sqlalchemy import select, update

from api_server.auth.models import PasswordReset
from api_server.database import Sessions, transaction
from api_server.settings import Registration
from tests.api_server.auth.conftest import SetUp
from tests.api_server.auth.signing_in import ACCOUNT, log_in
from tests.api_server.factories import PASSWORD, SignedIn


class TestRegistration:
    async def test_can_be_closed(self, client: httpx2.AsyncClient, set_up: SetUp) -> None:
        set_up(registration=Registration.CLOSED)

        answer = await client.post("/auth/register", json=ACCOUNT)

        assert (answer.status_code, answer.json()["code"]) == (403, "registration_closed")

    @pytest.mark.parametrize(
        ("more", "code"),
        [
            ({}, "invitation_needed"),
            ({"invitation": "guessed"}, "invitation_invalid"),
            ({"invitation": ""}, "invitation_invalid"),
        ],
    )
    async def test_by_invitation_needs_one(
        self, client: httpx2.AsyncClient, set_up: SetUp, more: dict[str, str], code: str
    ) -> None:
        set_up(registration=Registration.INVITATION)

        answer = await client.post("/auth/register", json={**ACCOUNT, **more})

        assert (answer.status_code, answer.json()["code"]) == (403, code)

    async def test_by_invitation_gives_its_role_once(
        self, client: httpx2.AsyncClient, admin: SignedIn, set_up: SetUp
    ) -> None:
        set_up(registration=Registration.INVITATION)
        code = (await admin.http.post("/invitations", json={"role": "user"})).json()["code"]

        first = await client.post("/auth/register", json={**ACCOUNT, "invitation": code})
        again = {"email": "b@example.com", "username": "b-b", "password": PASSWORD, "invitation": code}
        second = await client.post("/auth/register", json=again)

        assert (first.status_code, first.json()["role"]) == (201, "user")
        assert second.status_code == 403
        listed = (await admin.http.get("/invitations")).json()["items"]
        assert [each["used_by"] for each in listed] == [first.json()["id"]]
        assert code not in (await admin.http.get("/invitations")).text

    async def test_by_one_invitation_many_times_at_once_makes_one_account(
        self, client: httpx2.AsyncClient, admin: SignedIn, set_up: SetUp
    ) -> None:
        set_up(registration=Registration.INVITATION)
        code = (await admin.http.post("/invitations", json={})).json()["code"]
        bodies = [
            {"email": f"a{i}@example.com", "username": f"ada{i}", "password": PASSWORD, "invitation": code}
            for i in range(6)
        ]

        answers = await asyncio.gather(*(client.post("/auth/register", json=each) for each in bodies))

        assert sorted(each.status_code for each in answers) == [201] + [403] * 5

    async def test_holds_an_invitation_to_its_address_end_and_revocation(
        self, client: httpx2.AsyncClient, admin: SignedIn, set_up: SetUp
    ) -> None:
        set_up(registration=Registration.INVITATION)
        soon = (datetime.now(UTC) + timedelta(seconds=0.3)).isoformat()
        for_eve = (await admin.http.post("/invitations", json={"email": "eve@example.com"})).json()
        revoked = (await admin.http.post("/invitations", json={})).json()
        ending = (await admin.http.post("/invitations", json={"expires_at": soon})).json()
        assert (await admin.http.delete(f"/invitations/{revoked['id']}")).status_code == 204
        assert (await admin.http.delete(f"/invitations/{revoked['id']}")).status_code == 404
        await asyncio.sleep(0.4)

        for each in (for_eve, revoked, ending):
            answer = await client.post("/auth/register", json={**ACCOUNT, "invitation": each["code"]})
            assert answer.status_code == 403

        eve = {**ACCOUNT, "email": "Eve@example.com", "invitation": for_eve["code"]}
        assert (await client.post("/auth/register", json=eve)).status_code == 201

    async def test_of_a_taken_name_leaves_the_invitation_good(
        self, client: httpx2.AsyncClient, admin: SignedIn, set_up: SetUp
    ) -> None:
        set_up(registration=Registration.INVITATION)
        code = (await admin.http.post("/invitations", json={})).json()["code"]
        taken = {**ACCOUNT, "username": admin.username, "invitation": code}

        assert (await client.post("/auth/register", json=taken)).status_code == 409
        assert (await client.post("/auth/register", json={**ACCOUNT, "invitation": code})).status_code == 201

    async def test_is_limited_for_each_address(self, client: httpx2.AsyncClient, set_up: SetUp) -> None:
        set_up(registration_limit="3/hour")

        answers = [await client.post("/auth/register", json=ACCOUNT) for _ in range(5)]

        statuses = [each.status_code for each in answers]
        assert statuses[-1] == 429
        assert int(answers[-1].headers["Retry-After"]) > 0

    @pytest.mark.parametrize(
        "password", ["password1", "PassWord1", "ada@example.com", "somebody-else"], ids=lambda each: each
    )
    async def test_refuses_a_password_that_others_guess(
        self, client: httpx2.AsyncClient, password: str
    ) -> None:
        account = {**ACCOUNT, "username": "somebody-else", "password": password}

        answer = await client.post("/auth/register", json=account)

        (issue,) = answer.json()["errors"]
        assert (answer.status_code, issue["field"], issue["code"]) == (422, "password", "guessable")
        assert "got" not in issue

    @pytest.mark.parametrize(
        ("password", "status"),
        [("x7" * 3 + "q", 422), ("x7q9" * 2, 201), ("x7q9" * 32, 201), ("x7q9" * 32 + "y", 422)],
        ids=["7", "8", "128", "129"],
    )
    async def test_takes_8_to_128_characters(
        self, client: httpx2.AsyncClient, password: str, status: int
    ) -> None:
        assert (await client.post("/auth/register", json={**ACCOUNT, "password": password})).status_code == (
            status
        )

    @pytest.mark.parametrize("length", [73, 128])
    async def test_truncates_no_password(self, client: httpx2.AsyncClient, length: int) -> None:
        body = "p" * (length - 1)
        await client.post("/auth/register", json={**ACCOUNT, "password": body + "1"})

        assert (await log_in(client, "ada", body + "2")).status_code == 401
        assert (await log_in(client, "ada", body + "1")).status_code == 200

    async def test_refuses_to_make_an_invitation_that_nobody_could_use(
        self, admin: SignedIn, set_up: SetUp
    ) -> None:
        past = await admin.http.post("/invitations", json={"expires_at": "2020-01-01T00:00:00Z"})
        set_up(registration=Registration.CLOSED)
        closed = await admin.http.post("/invitations", json={})

        assert (past.status_code, closed.status_code) == (422, 409)

    async def test_repeats_no_secret_under_a_misspelt_name(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post("/auth/register", json={**ACCOUNT, "pasword": "canary-of-a-password"})

        assert answer.status_code == 422
        assert "canary" not in answer.text


class TestDeactivate:
    async def test_closes_the_account_with_all_that_came_from_it(
        self, client: httpx2.AsyncClient, maker: SignedIn, admin: SignedIn
    ) -> None:
        key = (await maker.http.post("/api-keys", json={"name": "k", "scopes": ["read"]})).json()["secret"]

        wrong = await maker.http.post("/auth/deactivate", json={"password": "not it at all"})
        right = await maker.http.post("/auth/deactivate", json={"password": PASSWORD})

        assert (wrong.status_code, right.status_code) == (403, 204)
        assert (await maker.http.get("/auth/me")).status_code == 401
        assert (await log_in(client, maker.username)).status_code == 401
        assert (await client.get("/auth/me", headers={"X-API-Key": key})).status_code == 401

        await admin.http.patch(f"/users/{maker.id}", json={"is_active": True})
        assert (await log_in(client, maker.username)).status_code == 200

    async def test_is_refused_to_the_last_administrator(self, admin: SignedIn) -> None:
        answer = await admin.http.post("/auth/deactivate", json={"password": PASSWORD})

        assert (answer.status_code, answer.json()["code"]) == (409, "last_administrator")


class TestPasswordReset:
    async def test_goes_through_an_administrator(
        self, client: httpx2.AsyncClient, maker: SignedIn, admin: SignedIn
    ) -> None:
        asked = await client.post("/auth/password-reset-requests", json={"login": maker.username})
        waiting = (await admin.http.get("/users?reset_requested=true")).json()["items"]
        token = (await admin.http.post(f"/users/{waiting[0]['id']}/password-reset")).json()["token"]
        new = {"token": token, "new_password": "a wholly new one"}

        done, again = [await client.post("/auth/password-reset", json=new) for _ in range(2)]

        assert (asked.status_code, done.status_code, again.status_code) == (202, 204, 401)
        assert [each["username"] for each in waiting] == [maker.username]
        assert (await maker.http.get("/auth/me")).status_code == 401
        assert (await log_in(client, maker.username)).status_code == 401
        assert (await log_in(client, maker.username, "a wholly new one")).status_code == 200
        assert (await admin.http.get("/users?reset_requested=true")).json()["total"] == 0

    async def test_is_in_the_audit_log_when_it_is_asked_for(
        self, client: httpx2.AsyncClient, maker: SignedIn, admin: SignedIn
    ) -> None:
        for login, about in ((maker.username, str(maker.id)), ("nobody", None)):
            answer = await client.post("/auth/password-reset-requests", json={"login": login})
            request_id = answer.headers["X-Request-ID"]
            found = (await admin.http.get(f"/audit?request_id={request_id}")).json()["items"]
            assert [(each["action"], each["object_id"]) for each in found] == [
                ("account:reset_password", about)
            ]

    async def test_tells_nobody_who_exists(self, client: httpx2.AsyncClient, maker: SignedIn) -> None:
        answers = [
            await client.post("/auth/password-reset-requests", json={"login": login})
            for login in (maker.username, f"{maker.username}@example.com", "nobody", "nobody@example.com")
        ]

        assert {(each.status_code, each.text) for each in answers} == {(202, answers[0].text)}

    async def test_ends_an_earlier_token_and_one_that_is_old(
        self, client: httpx2.AsyncClient, maker: SignedIn, admin: SignedIn, sessions: Sessions
    ) -> None:
        first, second = [
            (await admin.http.post(f"/users/{maker.id}/password-reset")).json()["token"] for _ in range(2)
        ]
        earlier = await client.post(
            "/auth/password-reset", json={"token": first, "new_password": "a wholly new one"}
        )
        async with transaction(sessions) as session:
            await session.execute(update(PasswordReset).values(expires_at=PasswordReset.created_at))

        late = await client.post(
            "/auth/password-reset", json={"token": second, "new_password": "a wholly new one"}
        )

        assert (earlier.status_code, late.status_code) == (401, 401)

    async def test_keeps_no_token(self, maker: SignedIn, admin: SignedIn, sessions: Sessions) -> None:
        token = (await admin.http.post(f"/users/{maker.id}/password-reset")).json()["token"]

        async with transaction(sessions) as session:
            kept = (await session.scalars(select(PasswordReset))).one()

        assert token not in str(vars(kept))
