"""A migrated database whose roles and append-only table have names that must be quoted everywhere."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import BigInteger, Column, MetaData, String, Table, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from api_server import rights
from api_server.cli import ALEMBIC_INI
from api_server.tables import metadata

Environment = dict[str, str]
Answer = TypeVar("Answer")

PASSWORD = "only for tests"
JOURNAL = 'Journal of "entries"'
"""An append-only table with all that makes rights difficult: a name to quote, a sequence of its own."""
QUOTED = '"Journal of ""entries"""'
TABLES = MetaData(naming_convention=metadata.naming_convention)
for known in metadata.sorted_tables:
    known.to_metadata(TABLES).info.update(known.info)
Table(
    JOURNAL,
    TABLES,
    Column("seq", BigInteger, primary_key=True),
    Column("said", String(20)),
    info={rights.APPEND_ONLY: True},
)
ORDINARY = sorted(name for name, table in TABLES.tables.items() if not table.info.get(rights.APPEND_ONLY))
GUARDED = sorted(set(TABLES.tables) - set(ORDINARY))
ALL_RIGHTS = {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Database:
    """One database, and the addresses of three who may enter it."""

    superuser: str
    owner: str
    application: str

    @property
    def owner_role(self) -> str:
        return str(make_url(self.owner).username)

    @property
    def role(self) -> str:
        return str(make_url(self.application).username)

    def ask(self, address: str, *statements: str, **values: str) -> list[Any]:
        """The rows of the last statement; all of them in one transaction."""
        return self.within(address, partial(_ask, statements, values))

    def within(self, address: str, work: Callable[[Any], Awaitable[Answer]]) -> Answer:
        async def run() -> Answer:
            engine = create_async_engine(address)
            try:
                async with engine.begin() as connection:
                    return await work(connection)
            finally:
                await engine.dispose()

        return asyncio.run(run())

    def give(self, *, patience: str = "5s", owns: bool = False, role: str = "") -> list[str]:
        application = rights.Application(role or self.role, owns=owns)

        async def work(connection: Any) -> list[str]:
            await connection.execute(text(f"SET LOCAL lock_timeout = '{patience}'"))
            return list(await connection.run_sync(rights.give, TABLES, application))

        return self.within(self.owner, work)

    def rights_on(self, table: str) -> set[str]:
        asked = ", ".join(f"has_table_privilege(:role, :table, '{each}')" for each in sorted(ALL_RIGHTS))
        (row,) = self.ask(self.superuser, f"SELECT {asked}", role=self.role, table=quoted(table))
        return {each for each, has in zip(sorted(ALL_RIGHTS), row, strict=True) if has}


async def _ask(statements: tuple[str, ...], values: dict[str, str], connection: Any) -> list[Any]:
    *before, last = statements
    for each in before:
        await connection.exec_driver_sql(each)
    result = await (connection.execute(text(last), values) if values else connection.exec_driver_sql(last))
    return list(result) if result.returns_rows else []


def make_database(environment: Environment) -> Database:
    """Migrated, with the journal added by its owner."""
    name = f"rights {uuid4().hex[:8]}"
    owner, role = f'{name} "Owner"', f"{name} 'App':x $1 %s"
    secrets = json.loads((Path(environment["PLATFORM_DATA_DIR"]) / "secrets.json").read_text())
    server = make_url(environment["DATABASE_URL"])
    at_server = server.set(username="postgres", password=secrets["postgres_admin"], database="postgres")
    asyncio.run(_make(at_server.render_as_string(hide_password=False), name=name, owner=owner, role=role))
    addresses = (
        at_server.set(database=name),
        server.set(username=owner, password=PASSWORD, database=name),
        server.set(username=role, password=PASSWORD, database=name),
    )
    made = Database(*(each.render_as_string(hide_password=False) for each in addresses))
    migrate(environment, made)
    made.within(made.owner, lambda connection: connection.run_sync(TABLES.create_all))
    return made


async def _make(address: str, *, name: str, owner: str, role: str) -> None:
    connection = await asyncpg.connect(address.replace("+asyncpg", ""))
    for each in (owner, role):
        await connection.execute(f"CREATE ROLE {quoted(each)} LOGIN PASSWORD '{PASSWORD}'")
    await connection.execute(f"CREATE DATABASE {quoted(name)} OWNER {quoted(owner)}")
    await connection.close()


def migrate(environment: Environment, database: Database) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setenv("DATABASE_URL", database.application)
        patch.setenv("DATABASE_OWNER_URL", database.owner)
        command.upgrade(Config(ALEMBIC_INI), "head")


class Held:
    """Somebody's transaction, as superuser, that stays open for so long, or until the block ends."""

    def __init__(self, database: Database, *statements: str, seconds: float = 30) -> None:
        self._database, self._statements, self._seconds = database, statements, seconds
        self._open, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: database.within(database.superuser, self._work))

    async def _work(self, connection: Any) -> None:
        for each in self._statements:
            await connection.exec_driver_sql(each)
        self._open.set()
        await asyncio.to_thread(self._end.wait, self._seconds)

    def __enter__(self) -> None:
        self._thread.start()
        assert self._open.wait(10)

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
