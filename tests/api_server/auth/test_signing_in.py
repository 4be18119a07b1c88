"""Passwords at the door: what time tells, who waits, and what a new one ends."""

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import update
from starlette.types import ASGIApp

from api_server.auth.models import User
from api_server.database import Sessions, transaction
from tests.api_server.auth.conftest import SetUp
from tests.api_server.auth.signing_in import log_in
from tests.api_server.factories import PASSWORD, PREFIX, SignedIn


@pytest.mark.alone
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
        async with asyncio.timeout(30):
            while len(alive) <= len(loops):
                await asyncio.sleep(0.01)
        new = {"current_password": PASSWORD, "new_password": "another long one"}
        changed = await maker.http.post("/auth/password", json=new)
        await asyncio.gather(*loops)

        assert changed.status_code == 204
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
