import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis.asyncio

from api_server.database import Sessions, make_engine, make_sessions
from api_server.relay import BrokerUnavailable, Relay
from api_server.settings import Settings
from platform_kit.contract.jobs import Queue
from platform_kit.plumbing.celery_app import make_celery
from tests.api_server.factories import SignedIn, upload


@pytest.fixture
async def broker(settings: Settings) -> AsyncIterator["redis.asyncio.Redis"]:
    client = redis.asyncio.from_url(settings.broker_url.get_secret_value())
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def relay(settings: Settings, sessions: Sessions) -> Relay:
    return Relay(settings, sessions, make_celery("relay", settings))


class TestPublishDue:
    async def test_rings_each_doorbell_once(
        self, maker: SignedIn, relay: Relay, broker: "redis.asyncio.Redis"
    ) -> None:
        for _ in range(3):
            await upload(maker)

        assert await relay.publish_due() == 3
        assert await relay.publish_due() == 0

        assert await broker.llen(str(Queue.DATA)) == 3

    async def test_by_three_relays_at_once_rings_no_bell_twice(
        self, maker: SignedIn, settings: Settings, sessions: Sessions, broker: "redis.asyncio.Redis"
    ) -> None:
        for _ in range(10):
            await upload(maker)
        relays = [Relay(settings, sessions, make_celery("relay", settings)) for _ in range(3)]

        counts = await asyncio.gather(*(each.publish_due() for each in relays))

        assert sum(counts) == 10
        assert await broker.llen(str(Queue.DATA)) == 10

    async def test_keeps_what_a_broker_that_is_away_did_not_take(
        self,
        maker: SignedIn,
        settings: Settings,
        sessions: Sessions,
        relay: Relay,
        broker: "redis.asyncio.Redis",
    ) -> None:
        await upload(maker)
        nowhere = settings.model_copy(
            update={"broker_url": type(settings.broker_url)("redis://127.0.0.1:1/0")}
        )
        cut_off = Relay(settings, sessions, make_celery("relay", nowhere))

        with pytest.raises(BrokerUnavailable):
            await cut_off.publish_due()

        assert await relay.publish_due() == 1
        assert await broker.llen(str(Queue.DATA)) == 1


class TestAlive:
    async def touches(
        self, settings: Settings, sessions: Sessions, folder: Path, *, seconds: float = 1.0
    ) -> bool:
        """Whether a relay that ran for so long has touched its file."""
        own = settings.model_copy(update={"alive_file": folder / "alive", "relay_poll_seconds": 0.1})
        running = asyncio.create_task(Relay(own, sessions, make_celery("relay", own)).run())
        await asyncio.sleep(seconds)
        assert not running.done()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        return (folder / "alive").exists()

    async def test_is_said_while_the_database_answers(
        self, settings: Settings, sessions: Sessions, tmp_path: Path
    ) -> None:
        assert await self.touches(settings, sessions, tmp_path)

    async def test_is_said_while_only_the_broker_is_away(
        self, maker: SignedIn, settings: Settings, sessions: Sessions, tmp_path: Path
    ) -> None:
        await upload(maker)
        nowhere = type(settings.broker_url)("redis://127.0.0.1:1/0")

        cut_off = settings.model_copy(update={"broker_url": nowhere})

        assert await self.touches(cut_off, sessions, tmp_path, seconds=8)

    @pytest.mark.parametrize(
        ("old", "new"), [("127.0.0.1", "nowhere.invalid"), ("/platform", "/no_such"), ("app:", "app:wrong")]
    )
    async def test_is_not_said_while_the_database_is_away_or_shut(
        self, settings: Settings, tmp_path: Path, old: str, new: str
    ) -> None:
        url = settings.database_url.get_secret_value().replace(old, new)
        shut = settings.model_copy(update={"database_url": type(settings.database_url)(url)})
        engine = make_engine(shut)

        assert not await self.touches(shut, make_sessions(engine), tmp_path)
        await engine.dispose()
