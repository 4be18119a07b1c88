"""What a notice ends stays ended, whatever was under way, and many strangers end nothing."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from ml_service.serving.credentials import Credential
from ml_service.serving.errors import ControlPlaneAway, NotSignedIn
from ml_service.serving.principals import STRANGERS_AT_ONCE, Principals
from platform_kit.contract.access import CredentialKind, Introspection, Notice, NoticeKind
from platform_kit.plumbing.problems import Problem
from platform_kit.plumbing.rate_limits import RequestLimits
from tests.ml_service.peer import Peer
from tests.ml_service.serving.asking import FAST, TOKEN, knows
from tests.ml_service.serving.calling import principal


def ended(what: UUID) -> Notice:
    return Notice(kind=NoticeKind.USER, id=what)


async def times_out(principals: Principals, limits: RequestLimits) -> None:
    with pytest.raises(ControlPlaneAway):
        await principals.identify(TOKEN, limits)


class TestForget:
    async def test_is_effective_with_the_next_request(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        who = principal()
        knows(peer, who)
        await principals.identify(TOKEN, limits)
        knows(peer, None)

        principals.forget([ended(who.credential_id)])

        with pytest.raises(NotSignedIn):
            await principals.identify(TOKEN, limits)

    async def test_leaves_everybody_else_alone(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        knows(peer, principal())
        await principals.identify(TOKEN, limits)

        principals.forget([ended(uuid4())])

        await principals.identify(TOKEN, limits)
        assert peer.count("/introspect") == 1

    async def test_believes_no_answer_that_was_under_way(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        who = principal()
        answers = [who, None]
        peer.routes["/introspect"] = lambda _: (200, Introspection(principal=answers.pop(0)))
        peer.delay_seconds = 0.15
        asking = asyncio.create_task(principals.identify(TOKEN, limits))
        await asyncio.sleep(0.05)

        principals.forget([ended(who.user_id)])

        with pytest.raises(NotSignedIn):
            await asking
        assert peer.count("/introspect") == 2

    async def test_believes_no_refresh_that_was_under_way(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        who = principal()
        knows(peer, who)
        await principals.identify(TOKEN, limits)
        await asyncio.sleep(FAST["auth_fresh_seconds"] + 0.05)
        answers = [who, None]
        peer.routes["/introspect"] = lambda _: (200, Introspection(principal=answers.pop(0)))
        peer.delay_seconds = 0.1
        await principals.identify(TOKEN, limits)
        await asyncio.sleep(0.03)

        principals.forget([ended(who.user_id)])

        with pytest.raises(NotSignedIn):
            await principals.identify(TOKEN, limits)

    async def test_takes_a_new_answer_that_came_after_it(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        who, project = principal(), uuid4()
        knows(peer, who)
        await principals.identify(TOKEN, limits)
        knows(peer, who.model_copy(update={"project_ids": [project]}))

        principals.forget([ended(who.user_id)])

        assert (await principals.identify(TOKEN, limits)).project_ids == [project]

    async def test_keeps_the_revoked_out_while_api_server_is_away(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        who = principal()
        knows(peer, who)
        await principals.identify(TOKEN, limits)
        peer.status = 500

        principals.forget([ended(who.credential_id)])

        await times_out(principals, limits)

    async def test_keeps_out_who_was_waiting_for_api_server_when_it_came(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        who = principal()
        knows(peer, who)
        await principals.identify(TOKEN, limits)
        await asyncio.sleep(FAST["auth_positive_seconds"] + 0.05)
        peer.delay_seconds = 0.6
        asking = asyncio.create_task(times_out(principals, limits))
        await asyncio.sleep(0.05)

        principals.forget([ended(who.credential_id)])

        await asking

    async def test_gives_up_on_what_changes_all_the_time(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        who = principal()

        def changing(_: dict[str, Any]) -> Any:
            principals.forget([ended(who.user_id)])
            return 200, Introspection(principal=who)

        peer.routes["/introspect"] = changing

        await times_out(principals, limits)
        assert len(principals.known) == 0

    async def test_of_more_than_can_be_remembered_believes_nothing_that_was_under_way(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        who = principal()
        knows(peer, who)
        peer.delay_seconds = 0.1
        asking = asyncio.create_task(principals.identify(TOKEN, limits))
        await asyncio.sleep(0.03)

        principals.forget([ended(who.user_id), *(ended(uuid4()) for _ in range(2000))])

        await asking
        assert peer.count("/introspect") == 2


class TestStrangers:
    async def test_leave_room_to_ask_about_those_who_are_known(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        who = principal()
        peer.routes["/introspect"] = lambda body: (
            200,
            Introspection(principal=who if body["credential"] == TOKEN.text else None),
        )
        await principals.identify(TOKEN, limits)
        await asyncio.sleep(FAST["auth_positive_seconds"] + 0.05)
        peer.delay_seconds = 0.2
        guesses = [Credential(CredentialKind.API_KEY, f"guess-{n}") for n in range(300)]
        flood = [asyncio.create_task(principals.identify(each, limits)) for each in guesses]
        await asyncio.sleep(0.05)

        assert await principals.identify(TOKEN, limits) == who

        answers = await asyncio.gather(*flood, return_exceptions=True)
        assert {each.status for each in answers if isinstance(each, Problem)} == {401, 503}
        assert peer.count("/introspect") <= 2 + 2 * STRANGERS_AT_ONCE
