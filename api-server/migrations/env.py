"""Alembic's entry point: migrations run as the schema's owner, and leave the application's rights as they must be.

They use the application's own driver, with a lock timeout.
"""

import asyncio

import structlog
from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from api_server import rights
from api_server.settings import Settings
from api_server.tables import metadata

LOCK = 7_230_000
"""Two that start at once migrate one after the other: the second waits until the first has committed."""

log = structlog.get_logger(__name__)


def _migrate(connection: Connection, application: rights.Application) -> None:
    connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    connection.execute(text("SET lock_timeout = '5s'"))
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()
        excess = rights.give(connection, metadata, application)
    connection.commit()
    for sentence in excess:
        log.warning("rights.excess", reason=sentence)


async def _run() -> None:
    settings = Settings.from_environment()
    application = await rights.application_of(settings)
    engine = create_async_engine(settings.schema_url.get_secret_value(), poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_migrate, application)
    await engine.dispose()


asyncio.run(_run())
