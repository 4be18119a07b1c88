"""Alembic's entry point: migrations run over the application's own driver, with a lock timeout."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from api_server.settings import Settings
from api_server.tables import metadata

LOCK = 7_230_000
"""Two that start at once migrate one after the other: the second waits until the first has committed."""


def _migrate(connection: Connection) -> None:
    connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    connection.execute(text("SET lock_timeout = '5s'"))
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()


async def _run() -> None:
    engine = create_async_engine(
        Settings.from_environment().database_url.get_secret_value(), poolclass=NullPool
    )
    async with engine.connect() as connection:
        await connection.run_sync(_migrate)
    await engine.dispose()


asyncio.run(_run())
