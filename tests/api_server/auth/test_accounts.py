"""Who may register, what a password must be, and the ways out of and back into an account."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import select, update
from starlette.types import ASGIApp

from api_server.auth.models import PasswordReset, User
from api_server.auth.throttle import LoginThrottle
from api_server.database import Sessions, transaction
from api_server.settings import Registration, Settings
from platform_kit.contract.access import Role
from platform_kit.plumbing.rate_counters import ProcessCounters
from tests.api_server.conftest import SignIn
from tests.api_server.factories import PASSWORD, PREFIX, SignedIn

ACCOUNT = {"email": "ada@example.com", "username": "ada", "password": PASSWORD}
SetUp = Callable[..., None]


@pytest.fixture
def set_up(running: tuple[Any, dict[str, Any]], settings: Settings) -> Iterator[SetUp]:
    """Changes settings of the running service for one test."""
    app = running[0]

    def set_up(**changed: Any) -> None:
        app._state["settings"] = settings.model_copy(update=changed)

    yield set_up
    app._state["settings"] = settings


@pytest.fixture
def set_up_throttle(running: tuple[Any, dict[str, Any]], settings: Settings) -> Iterator[SetUp]:
    state = running[0]._state
    before = state["throttle"]

    def set_up(**changed: Any) -> None:
        changed_settings = settings.model_copy(update=changed)
        state["throttle"] = LoginThrottle.from_settings(changed_settings, ProcessCounters())

    yield set_up
    state["throttle"] = before


@pytest.fixture
async def admin(sign_in: SignIn) -> SignedIn:
    return await sign_in(Role.ADMIN)


async def log_in(client: httpx2.AsyncClient, name: str, password: str = PASSWORD) -> httpx2.Response:
    return await client.post("/auth/token", data={"username": name, "password": password})


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


class TestTiming:
    async def test_of_a_login_does_not_tell_who_exists(
        self, client: httpx2.AsyncClient, maker: SignedIn
    ) -> None:
        seconds: dict[str, list[float]] = {maker.username: [], "nobody-at-all": []}

        for _ in range(30):
            for name, found in seconds.items():
                began = time.perf_counter()
                answer = await log_in(client, name, "wrong password")
                found.append(time.perf_counter() - began)
                assert answer.status_code == 401

        known, unknown = (statistics.median(each) for each in seconds.values())
        assert abs(known - unknown) < 0.25 * max(known, unknown)

    async def test_of_a_guess_is_that_of_argon2(self, client: httpx2.AsyncClient) -> None:
        began = time.perf_counter()
        await log_in(client, "nobody-at-all", "wrong password")

        assert time.perf_counter() - began > 0.01


class TestChangePassword:
    async def test_leaves_no_session_of_the_old_one_however_they_cross(
        self, client: httpx2.AsyncClient, maker: SignedIn
    ) -> None:
        """A login that had its password verified before the change must not begin after it."""
        alive: list[str] = []

        async def keep_logging_in() -> None:
            while True:
                answer = await log_in(client, maker.username)
                if answer.status_code != 200:
                    return
                alive.append(answer.json()["access_token"])

        loops = [asyncio.create_task(keep_logging_in()) for _ in range(4)]
        await asyncio.sleep(0.4)
        new = {"current_password": PASSWORD, "new_password": "another long one"}
        changed = await maker.http.post("/auth/password", json=new)
        await asyncio.gather(*loops)

        assert changed.status_code == 204
        assert len(alive) > 4
        answers = [
            await client.get("/auth/me", headers={"Authorization": f"Bearer {each}"}) for each in alive
        ]
        assert {each.status_code for each in answers} == {401}

    async def test_slows_guesses_of_the_current_one_down(
        self, maker: SignedIn, set_up_throttle: SetUp
    ) -> None:
        set_up_throttle(login_failures_per_hour=5)
        wrong = {"current_password": "a guess", "new_password": "another long one"}

        guesses = [await maker.http.post("/auth/password", json=wrong) for _ in range(8)]
        closing = await maker.http.post("/auth/deactivate", json={"password": PASSWORD})

        assert [each.status_code for each in guesses].count(403) <= 6
        assert guesses[-1].status_code == closing.status_code == 429

    @pytest.mark.parametrize(("wish", "status"), [({"revoke_api_keys": True}, 401), ({}, 200)])
    async def test_ends_api_keys_when_asked_to(
        self, client: httpx2.AsyncClient, maker: SignedIn, wish: dict[str, bool], status: int
    ) -> None:
        key = (await maker.http.post("/api-keys", json={"name": "k", "scopes": ["read"]})).json()["secret"]
        new = {"current_password": PASSWORD, "new_password": "another long one", **wish}

        await maker.http.post("/auth/password", json=new)

        assert (await client.get("/auth/me", headers={"X-API-Key": key})).status_code == status


class TestGuessing:
    async def test_at_invented_names_by_a_crowd_keeps_nobody_out_who_has_been_here(
        self, client: httpx2.AsyncClient, maker: SignedIn
    ) -> None:
        crowd = [asyncio.create_task(log_in(client, f"invented-{number}", "guess")) for number in range(150)]
        await asyncio.sleep(0.05)

        began = time.perf_counter()
        owner = await log_in(client, maker.username)
        seconds = time.perf_counter() - began
        done = sum(each.done() for each in crowd)
        answers = await asyncio.gather(*crowd)

        assert owner.status_code == 200
        assert {each.status_code for each in answers} == {401, 503}
        assert done < len(crowd), f"the owner waited {seconds:.1f} s, behind everybody"

    async def test_from_many_addresses_keeps_no_owner_out(
        self, running: tuple[ASGIApp, dict[str, Any]], client: httpx2.AsyncClient, maker: SignedIn
    ) -> None:
        async def guess(number: int) -> int:
            address = (f"198.51.100.{number}", 4711)
            transport = httpx2.ASGITransport(app=running[0], client=address)
            async with httpx2.AsyncClient(transport=transport, base_url=f"http://api{PREFIX}") as http:
                return (await log_in(http, maker.username, f"guess number {number}")).status_code

        guesses = [
            await asyncio.gather(*(guess(one) for one in range(ten, ten + 10))) for ten in range(0, 200, 10)
        ]

        assert {each for ten in guesses for each in ten} == {401}
        assert (await log_in(client, maker.username)).status_code == 200

    async def test_from_the_owners_own_address_slows_both_down_and_keeps_neither_out(
        self, client: httpx2.AsyncClient, maker: SignedIn, set_up_throttle: SetUp
    ) -> None:
        set_up_throttle(login_failures_per_hour=5, login_trickle_seconds=1)

        guesses = [await log_in(client, maker.username, "guess") for _ in range(8)]
        owner = await log_in(client, maker.username)
        await asyncio.sleep(int(owner.headers.get("Retry-After", 0)))

        assert {each.status_code for each in guesses} == {401, 429}
        assert (await log_in(client, maker.username)).status_code == 200


class TestLogin:
    async def test_many_times_at_once_is_no_conflict(
        self, client: httpx2.AsyncClient, maker: SignedIn
    ) -> None:
        seen = (await maker.http.get("/auth/me")).headers["ETag"]

        answers = await asyncio.gather(*(log_in(client, maker.username) for _ in range(12)))

        assert {each.status_code for each in answers} == {200}
        assert (await maker.http.get("/auth/me")).headers["ETag"] == seen

    async def test_is_noted_for_administrators(
        self, client: httpx2.AsyncClient, maker: SignedIn, admin: SignedIn, sessions: Sessions
    ) -> None:
        async with transaction(sessions) as session:
            await session.execute(update(User).values(last_login_at=None))

        await log_in(client, maker.username)

        seen = (await admin.http.get(f"/users/{maker.id}")).json()["last_login_at"]
        assert datetime.fromisoformat(seen) > datetime.now(UTC) - timedelta(minutes=1)
