"""Rings the doorbells that transactions have left in the outbox, and looks after jobs whose worker was lost.

Any number of relays may run: rows are taken with SKIP LOCKED, and reaping is under an advisory lock.
"""

import asyncio
import contextlib
import signal
from dataclasses import asdict
from uuid import UUID

import asyncpg
import redis
import structlog
from celery import Celery
from kombu.exceptions import KombuError
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from api_server import outbox, tables
from api_server.database import (
    DATABASE_FAULTS,
    DatabaseUnavailable,
    Sessions,
    make_engine,
    make_sessions,
    transaction,
)
from api_server.handlers import HANDLERS
from api_server.jobs import leases
from api_server.jobs.leases import Reaped
from api_server.settings import Settings
from platform_kit.contract.jobs import RUN_JOB, Queue
from platform_kit.plumbing.celery_app import make_celery
from platform_kit.plumbing.liveness import touch
from platform_kit.plumbing.logging import set_up_logging

RETRY_SECONDS = 1.0
BROKER_SECONDS = 2.0
"""For a question to the broker."""
BROKER_FAULTS = (KombuError, RedisError, OSError)

log = structlog.get_logger(__name__)


class BrokerUnavailable(Exception):
    """The broker is away, or does not take messages; it is asked again."""


class Relay:
    def __init__(self, settings: Settings, sessions: Sessions, celery: Celery) -> None:
        self._settings, self._sessions, self._celery = settings, sessions, celery
        self._wake = asyncio.Event()
        self._broker = redis.Redis.from_url(
            settings.broker_url.get_secret_value(),
            socket_timeout=BROKER_SECONDS,
            socket_connect_timeout=BROKER_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._publish_forever())
            group.create_task(self._reap_forever())

    async def publish_due(self) -> int:
        """Publish what is due; returns how many. What cannot be published stays in the outbox."""
        async with transaction(self._sessions) as session:
            bells = await outbox.take_due(session)
            if bells:
                await asyncio.to_thread(self._ring, [(bell.job_id, bell.queue) for bell in bells])
                await leases.rung(session, [bell.job_id for bell in bells])
        return len(bells)

    def _ring(self, bells: list[tuple[UUID, str]]) -> None:
        try:
            with self._celery.producer_pool.acquire(block=True, timeout=5) as producer:
                for job_id, queue in bells:
                    self._celery.send_task(
                        RUN_JOB, args=[str(job_id)], queue=queue, producer=producer, retry=False
                    )
        except BROKER_FAULTS as error:
            raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error

    async def _publish_forever(self) -> None:
        while True:
            try:
                while await self.publish_due():
                    touch(self._settings.alive_file)
                touch(self._settings.alive_file)
            except BrokerUnavailable as error:
                # The database answered, so this process is well: another one would fare no better.
                touch(self._settings.alive_file)
                log.warning("relay.broker_unavailable", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            except DatabaseUnavailable as error:
                log.warning("relay.database_unavailable", error=str(error.__cause__))
                await asyncio.sleep(RETRY_SECONDS)
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.relay_poll_seconds):
                    await self._wake.wait()

    async def _reap_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.reaper_interval_seconds)
            try:
                await self.reap()
            except DatabaseUnavailable:
                continue
            except Exception:  # the edge of the loop: doorbells must be published whatever is wrong here
                log.exception("relay.reaping_failed")

    async def reap(self) -> Reaped:
        """Look after jobs whose worker, or whose doorbell, was lost."""
        bells_out = await asyncio.to_thread(self._bells_out)
        async with transaction(self._sessions) as session:
            reaped = await leases.reap(
                session, handlers=HANDLERS, settings=self._settings, bells_out=bells_out
            )
        if reaped:
            log.info("relay.reaped", **asdict(reaped))
        return reaped

    def _bells_out(self) -> dict[Queue, int]:
        """How many doorbells the broker holds; empty when it does not say: it would take no other either."""
        try:
            return {queue: int(self._broker.llen(str(queue))) for queue in Queue}
        except BROKER_FAULTS:
            return {}

    async def _listen(self) -> None:
        """Wake at once when a transaction leaves a doorbell; without this the poll still finds it."""
        dsn = self._settings.database_url.get_secret_value().replace("+asyncpg", "", 1)
        while True:
            try:
                await self._listen_once(dsn)
            except (*DATABASE_FAULTS, OSError, asyncpg.PostgresError) as error:
                log.warning("relay.listen_failed", error=str(error) or type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen_once(self, dsn: str) -> None:
        connection = await asyncpg.connect(dsn, timeout=3)
        closed = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: closed.set())
            await connection.add_listener(outbox.CHANNEL, lambda *_: self._wake.set())
            await closed.wait()
        finally:
            connection.terminate()


async def run(settings: Settings) -> None:
    assert tables.metadata.tables  # importing `tables` is what makes foreign keys resolve here
    engine = make_engine(settings)
    relay = asyncio.create_task(Relay(settings, make_sessions(engine), make_celery("relay", settings)).run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, relay.cancel)
    log.info("relay.ready")
    with contextlib.suppress(asyncio.CancelledError):
        await relay
    await engine.dispose()


def main() -> None:
    settings = Settings.from_environment()
    set_up_logging("relay", level=settings.log_level, log_format=settings.log_format)
    asyncio.run(run(settings))


if __name__ == "__main__":
    main()
