"""A flood of refusals: the first get an entry each, the others one together."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from starlette.types import ASGIApp

from api_server.audit_trail import REFUSED, Deed, Who
from api_server.database import Sessions
from api_server.refusal_book import MOST_WINDOWS, RefusalBook
from api_server.refusal_trail import keep
from platform_kit.contract.access import Role
from tests.api_server.conftest import SignIn

ADA = Who(user_id=uuid4(), username="ada", address="192.0.2.1")
NOBODY = Who(address="198.51.100.1")
READ = Deed("project:read", outcome=REFUSED, status=401)


def book(per_minute: int = 3, seconds: float = 60.0) -> RefusalBook:
    return RefusalBook(per_minute=per_minute, window_seconds=seconds)


class TestAdmits:
    def test_so_many_of_a_caller_and_action(self) -> None:
        kept = book()

        assert [kept.admits(ADA, READ) for _ in range(5)] == [True] * 3 + [False] * 2
        assert kept.admits(NOBODY, READ)
        assert kept.admits(ADA, replace(READ, action="project:delete"))

    @pytest.mark.parametrize(
        ("first", "second", "is_one"),
        [
            ("198.51.100.1", "198.51.100.2", False),
            ("2001:db8::1", "2001:db8::2", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
        ],
    )
    def test_counts_strangers_by_their_network(self, first: str, second: str, is_one: bool) -> None:
        kept = book(per_minute=1)
        kept.admits(Who(address=first), READ)

        assert kept.admits(Who(address=second), READ) is not is_one

    def test_starts_again_with_the_next_minute(self) -> None:
        kept = book(per_minute=1, seconds=0.0)
        kept.admits(ADA, READ)
        list(kept.summaries())

        assert kept.admits(ADA, READ)

    def test_keeps_a_bound_however_many_callers_there_are(self) -> None:
        kept = book(per_minute=1)

        admitted = sum(
            kept.admits(Who(address=str(ip_address(number))), READ) for number in range(MOST_WINDOWS + 50)
        )

        assert admitted == MOST_WINDOWS + 1
        ((_, deed),) = kept.summaries(all_of_them=True)
        assert deed.details["refusals"] == 49


class TestSummaries:
    def test_say_how_many_were_only_counted(self) -> None:
        kept = book(seconds=0.0)
        for _ in range(10):
            kept.admits(ADA, READ)

        ((who, deed),) = kept.summaries()

        assert (who.username, deed.action, deed.outcome, deed.code) == (
            "ada",
            "project:read",
            "refused",
            "more_refused",
        )
        assert deed.details["refusals"] == 7

    def test_wait_for_the_minute_to_end(self) -> None:
        kept = book()
        for _ in range(10):
            kept.admits(ADA, READ)

        assert list(kept.summaries()) == []
        assert len(list(kept.summaries(all_of_them=True))) == 1

    def test_are_silent_about_what_has_its_entries(self) -> None:
        kept = book(seconds=0.0)
        kept.admits(ADA, READ)

        assert list(kept.summaries()) == []


class TestFlood:
    @pytest.fixture
    def few(self, running: tuple[ASGIApp, dict[str, Any]]) -> Iterator[RefusalBook]:
        state = running[0]._state  # type: ignore[attr-defined]  # what WithState keeps for the application
        before, state["refusals"] = state["refusals"], book(per_minute=5)
        yield state["refusals"]
        state["refusals"] = before

    async def test_of_anonymous_requests_leaves_few_entries_that_say_how_many_they_were(
        self, client: httpx2.AsyncClient, sign_in: SignIn, sessions: Sessions, few: RefusalBook
    ) -> None:
        admin = await sign_in(Role.ADMIN)
        answers = await asyncio.gather(*(client.get("/projects") for _ in range(40)))
        keeping = asyncio.create_task(keep(few, sessions))
        await asyncio.sleep(0)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

        found = (await admin.http.get("/audit?outcome=refused")).json()["items"]

        assert {each.status_code for each in answers} == {401}
        assert sorted(each["code"] for each in found) == ["more_refused"] + ["not_signed_in"] * 5
        (summary,) = [each for each in found if each["code"] == "more_refused"]
        assert summary["details"]["refusals"] == 35

    async def test_of_invented_refresh_tokens_is_no_way_around(
        self, client: httpx2.AsyncClient, sign_in: SignIn, few: RefusalBook
    ) -> None:
        admin = await sign_in(Role.ADMIN)
        bodies = [{"refresh_token": f"{number:064}"} for number in range(20)]

        answers = await asyncio.gather(*(client.post("/auth/refresh", json=each) for each in bodies))

        found = (await admin.http.get("/audit?action=account:refresh")).json()["items"]
        assert {each.status_code for each in answers} == {401}
        assert [(each["outcome"], each["code"]) for each in found] == [
            ("refused", "refresh_token_invalid")
        ] * 5
