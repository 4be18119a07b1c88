"""A notice through Redis makes it quick; without Redis it takes as long as an answer is trusted, and no longer."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from ml_service.settings import Settings
from platform_kit.contract.access import Notice, NoticeKind
from platform_kit.plumbing.notices import NoticeSender
from tests.broker import Broker
from tests.ml_service.peer import Peer
from tests.ml_service.serving.calling import OWNER, ControlPlane, predict, running_service, until

SPREADS_SECONDS = 0.25
"""A few milliseconds on a machine that does nothing else; without a notice it is hardly ever less than a second."""
TRUSTED_SECONDS = 2.0


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Broker]:
    cache = Broker(tmp_path)
    cache.start()
    yield cache
    cache.stop()


@pytest.fixture
async def client(
    settings: Settings, control: ControlPlane, cached_demos: None, cache: Broker
) -> AsyncIterator[httpx2.AsyncClient]:
    changed = settings.model_copy(update={"cache_url": SecretStr(cache.url())})
    async with running_service(changed) as http:
        await asyncio.sleep(0.1)
        yield http


@pytest.fixture
async def sender(cache: Broker) -> AsyncIterator[NoticeSender]:
    sender = NoticeSender(cache.url())
    yield sender
    await sender.close()


async def seconds_until_refused(client: httpx2.AsyncClient) -> float:
    """A signed-in caller gets 404 for an unknown model; with an ended session 401."""
    started = time.perf_counter()
    while (await predict(client, "unknown", OWNER)).status_code != 401:
        assert time.perf_counter() - started < TRUSTED_SECONDS + 1
        await asyncio.sleep(0.002)
    return time.perf_counter() - started


def log_out(control: ControlPlane, sender: NoticeSender) -> None:
    """What api-server does: the session is gone, then it is told."""
    session = control.callers.pop("owner").credential_id
    sender.tell([Notice(kind=NoticeKind.SESSION, id=session)])


class TestRevoking:
    @pytest.mark.alone
    async def test_is_effective_within_milliseconds(
        self, deployed: httpx2.AsyncClient, control: ControlPlane, sender: NoticeSender
    ) -> None:
        assert (await predict(deployed, "churn", OWNER)).status_code == 200

        log_out(control, sender)

        assert await seconds_until_refused(deployed) < SPREADS_SECONDS

    @pytest.mark.alone
    @pytest.mark.parametrize("fault", ["frozen", "killed"])
    async def test_is_effective_in_time_without_redis(
        self,
        deployed: httpx2.AsyncClient,
        control: ControlPlane,
        sender: NoticeSender,
        cache: Broker,
        fault: str,
    ) -> None:
        assert (await predict(deployed, "churn", OWNER)).status_code == 200
        if fault == "frozen":
            cache.freeze()
        else:
            cache.stop()

        log_out(control, sender)
        seconds = await seconds_until_refused(deployed)

        if fault == "frozen":
            cache.thaw()
        assert seconds <= TRUSTED_SECONDS

    async def test_is_heard_of_by_a_service_that_starts_a_moment_later(
        self,
        settings: Settings,
        client: httpx2.AsyncClient,
        control: ControlPlane,
        sender: NoticeSender,
        peer: Peer,
        cache: Broker,
    ) -> None:
        """Also while api-server is away: what is on disk is from before."""
        changed = settings.model_copy(update={"cache_url": SecretStr(cache.url())})
        await predict(client, "unknown", OWNER)
        await until(lambda: (settings.ml_cache_dir / "access.json").exists())
        log_out(control, sender)
        peer.status = 500

        async with running_service(changed) as restarted:
            await asyncio.sleep(0.3)
            assert (await predict(restarted, "unknown", OWNER)).status_code == 503
