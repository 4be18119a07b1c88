"""Who is calling, while api-server answers, is slow, is away, and has changed its mind."""

import asyncio
import stat
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ml_service.serving.control_plane import ControlPlane
from ml_service.serving.errors import ControlPlaneAway, NotSignedIn
from ml_service.serving.principals import Principals
from ml_service.settings import Settings
from platform_kit.plumbing.rate_limits import RequestLimits
from tests.ml_service.peer import Peer
from tests.ml_service.serving.asking import FAST, KEY, TOKEN, knows
from tests.ml_service.serving.calling import principal


class TestIdentify:
    async def test_asks_once_for_many_requests(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        knows(peer, principal())

        found = await asyncio.gather(*(principals.identify(TOKEN, limits) for _ in range(20)))

        assert {each.username for each in found} == {"ada"}
        assert peer.count("/introspect") == 1

    async def test_notices_a_revocation_in_time(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        knows(peer, principal())
        await principals.identify(TOKEN, limits)
        knows(peer, None)

        await asyncio.sleep(FAST["auth_positive_seconds"] + 0.05)

        with pytest.raises(NotSignedIn):
            await principals.identify(TOKEN, limits)

    async def test_refreshes_in_the_background_before_it_must(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        knows(peer, principal())
        await principals.identify(TOKEN, limits)
        knows(peer, None)
        await asyncio.sleep(FAST["auth_fresh_seconds"] + 0.05)

        assert await principals.identify(TOKEN, limits) is not None
        await asyncio.sleep(0.1)

        with pytest.raises(NotSignedIn):
            await principals.identify(TOKEN, limits)

    async def test_remembers_a_denial_for_a_moment_only(
        self, principals: Principals, limits: RequestLimits, peer: Peer
    ) -> None:
        knows(peer, None)
        for _ in range(3):
            with pytest.raises(NotSignedIn):
                await principals.identify(TOKEN, limits)
        knows(peer, principal())
        await asyncio.sleep(FAST["auth_denial_seconds"] + 0.05)

        assert await principals.identify(TOKEN, limits) is not None
        assert peer.count("/introspect") == 2


class TestAway:
    @pytest.fixture(params=["fault", "slow"])
    def away(self, request: pytest.FixtureRequest, peer: Peer) -> Any:
        def go() -> None:
            if request.param == "fault":
                peer.status = 500
            else:
                peer.delay_seconds = 0.6

        return go

    async def test_known_callers_stay_known(
        self, principals: Principals, limits: RequestLimits, peer: Peer, away: Any
    ) -> None:
        knows(peer, principal())
        await principals.identify(TOKEN, limits)
        away()
        await asyncio.sleep(FAST["auth_positive_seconds"] + 0.05)

        assert await principals.identify(TOKEN, limits) is not None

    async def test_strangers_are_told_to_come_back(
        self, principals: Principals, limits: RequestLimits, away: Any
    ) -> None:
        away()

        with pytest.raises(ControlPlaneAway) as refused:
            await principals.identify(TOKEN, limits)

        assert (refused.value.status, int(refused.value.headers["Retry-After"]) > 0) == (503, True)

    async def test_the_denied_stay_out(
        self, principals: Principals, limits: RequestLimits, peer: Peer, away: Any
    ) -> None:
        knows(peer, principal())
        await principals.identify(TOKEN, limits)
        knows(peer, None)
        await asyncio.sleep(FAST["auth_positive_seconds"] + 0.05)
        with pytest.raises(NotSignedIn):
            await principals.identify(TOKEN, limits)
        away()
        await asyncio.sleep(FAST["auth_denial_seconds"] + 0.05)

        with pytest.raises(ControlPlaneAway):
            await principals.identify(TOKEN, limits)

    async def test_ends_with_the_token_itself(
        self, principals: Principals, limits: RequestLimits, peer: Peer, away: Any
    ) -> None:
        knows(peer, principal(expires_at=datetime.now(UTC) + timedelta(seconds=0.3)))
        await principals.identify(TOKEN, limits)
        away()
        await asyncio.sleep(0.4)

        with pytest.raises(ControlPlaneAway):
            await principals.identify(TOKEN, limits)

    async def test_a_key_without_an_end_has_one_here(
        self, control_plane: ControlPlane, limits: RequestLimits, quick: Settings, peer: Peer, away: Any
    ) -> None:
        principals = Principals(control_plane, quick.model_copy(update={"auth_stale_max": 0.0}))
        knows(peer, principal(expires_at=None))
        await principals.identify(KEY, limits)
        away()
        await asyncio.sleep(FAST["auth_positive_seconds"] + 0.05)

        with pytest.raises(ControlPlaneAway):
            await principals.identify(KEY, limits)

    async def test_outlives_a_restart_and_keeps_no_secret(
        self,
        principals: Principals,
        limits: RequestLimits,
        control_plane: ControlPlane,
        quick: Settings,
        peer: Peer,
        away: Any,
    ) -> None:
        knows(peer, principal())
        await principals.identify(TOKEN, limits)
        await principals.known.save()
        away()
        path = quick.ml_cache_dir / "access.json"

        restarted = Principals(control_plane, quick)
        await asyncio.sleep(FAST["auth_positive_seconds"] + 0.05)

        assert await restarted.identify(TOKEN, limits) is not None
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "a-token" not in path.read_text()
