import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from kombu.exceptions import OperationalError

from api_server.database import Sessions
from api_server.relay import Relay
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

        with pytest.raises((OperationalError, OSError)):
            await cut_off.publish_due()

        assert await relay.publish_due() == 1
        assert await broker.llen(str(Queue.DATA)) == 1
