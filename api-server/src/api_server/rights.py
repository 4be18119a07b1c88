"""What the application's database role may do: use the tables, not change them, and to append-only ones only add.

The schema's owner grants it in the transaction of the migrations, also when there is nothing to migrate: after a
restore, or when somebody has given rights by hand, preparing makes it right again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, MetaData, Row, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from api_server.settings import Settings

APPEND_ONLY = "append_only"
"""In a table's `info`: its rows are added and read, never changed or removed."""
VERSIONS = "alembic_version"
TRIES = 10
CHANGED_AT_ONCE = "tuple concurrently updated"
"""Postgres says so, with no code of its own, when two grant on one table, or its statistics are written meanwhile."""

_WHO_AND_WHERE = text(
    "SELECT current_user, oid, pg_postmaster_start_time() FROM pg_database WHERE datname = current_database()"
)
"""Two servers may each have a database of one name and number; they have not started in the same microsecond."""
_SEQUENCES = text(
    "SELECT relname FROM pg_class JOIN pg_namespace AS schema ON schema.oid = relnamespace "
    "WHERE relkind = 'S' AND nspname = current_schema() AND pg_has_role(relowner, 'USAGE') ORDER BY relname"
)
_IS_SUPERUSER = text("SELECT rolsuper FROM pg_roles WHERE rolname = :role")
_IS_MEMBER = text("SELECT pg_has_role(:role, current_user, 'MEMBER')")
_MAY_CREATE = text("SELECT has_schema_privilege(:role, current_schema(), 'CREATE')")
_MAY_CHANGE = text(
    "SELECT has_table_privilege(:role, :table, 'DELETE, TRUNCATE, TRIGGER') "
    "OR has_any_column_privilege(:role, :table, 'UPDATE')"
)


@dataclass(frozen=True)
class Application:
    """role: as the server calls it, which need not stand so in the address. owns: it is the schema's owner too."""

    role: str
    owns: bool


class TwoDatabases(Exception):
    """The application would not find what its owner makes."""


async def application_of(settings: Settings) -> Application:
    """Ask the server as whom DATABASE_URL and DATABASE_OWNER_URL are let in. Raises TwoDatabases."""
    application = await _asked(settings.database_url.get_secret_value())
    owner = await _asked(settings.schema_url.get_secret_value())
    if application[1:] != owner[1:]:
        raise TwoDatabases(
            "DATABASE_URL and DATABASE_OWNER_URL lead to two databases; name the same in both."
        )
    return Application(application[0], owns=application[0] == owner[0])


async def _asked(url: str) -> Row[Any]:
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return (await connection.execute(_WHO_AND_WHERE)).one()
    finally:
        await engine.dispose()


def give(connection: Connection, metadata: MetaData, application: Application) -> list[str]:
    """Give the application its rights on the tables that are there, and take all others from it.

    The connection is the owner's, in a transaction. Returns sentences: why the application may do more nevertheless.
    """
    tables = Tables.there(connection, metadata)
    role = _quoted(connection, application.role)
    own = _taken_from_the_owner(tables, role)
    statements = list(own if application.owns else _given(connection, tables, role))
    for left in reversed(range(TRIES)):
        try:
            with connection.begin_nested():
                for each in statements:
                    connection.exec_driver_sql(each)
            break
        except DBAPIError as error:
            if not left or CHANGED_AT_ONCE not in str(error.orig):
                raise
    return list(_excess(connection, tables, application))


@dataclass(frozen=True)
class Tables:
    """Names that are quoted, of what is in the schema: of a newer or older version, some are not there."""

    ordinary: list[str]
    append_only: list[str]
    read_only: list[str]

    @classmethod
    def there(cls, connection: Connection, metadata: MetaData) -> "Tables":
        present = {*inspect(connection).get_table_names()}
        known = [each for each in metadata.sorted_tables if each.name in present]
        append_only = [each.name for each in known if each.info.get(APPEND_ONLY)]
        ordinary = [each.name for each in known if each.name not in append_only]
        return cls(
            ordinary=[_quoted(connection, name) for name in ordinary],
            append_only=[_quoted(connection, name) for name in append_only],
            read_only=[VERSIONS] if VERSIONS in present else [],
        )


def _given(connection: Connection, tables: Tables, role: str) -> Iterator[str]:
    schema = _quoted(connection, str(connection.scalar(text("SELECT current_schema()"))))
    yield f"REVOKE ALL ON SCHEMA {schema} FROM {role} CASCADE"
    yield f"GRANT USAGE ON SCHEMA {schema} TO {role}"
    yield from _exactly("SELECT, INSERT, UPDATE, DELETE", tables.ordinary, role)
    yield from _exactly("SELECT, INSERT", tables.append_only, role)
    yield from _exactly("SELECT", tables.read_only, role)
    for sequence in connection.scalars(_SEQUENCES):
        yield f"GRANT USAGE ON SEQUENCE {_quoted(connection, sequence)} TO {role}"


def _exactly(rights: str, tables: list[str], role: str) -> Iterator[str]:
    """Rights on single columns are taken as well, and from those to whom the application has passed them on."""
    if tables:
        yield f"REVOKE ALL ON {', '.join(tables)} FROM {role} CASCADE"
        yield f"GRANT {rights} ON {', '.join(tables)} TO {role}"


def _taken_from_the_owner(tables: Tables, role: str) -> Iterator[str]:
    """It can give them back to itself: that keeps accidents away, and nobody who means it."""
    for table in tables.append_only:
        yield f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {role} CASCADE"


def _excess(connection: Connection, tables: Tables, application: Application) -> Iterator[str]:
    role = application.role
    if application.owns:
        yield (
            f"{role} owns the tables and could give itself every right: append-only ones are only as strong as their "
            "triggers. DATABASE_OWNER_URL names an owner of its own."
        )
    elif connection.scalar(_IS_SUPERUSER, {"role": role}):
        yield f"{role} is a superuser, whom no right holds back."
    elif connection.scalar(_IS_MEMBER, {"role": role}):
        yield f"{role} is a member of the role that owns the tables, and may do what that may."
    else:
        if connection.scalar(_MAY_CREATE, {"role": role}):
            yield f"{role} may make tables, by a right that all or another role have."
        for table in tables.append_only:
            if connection.scalar(_MAY_CHANGE, {"role": role, "table": table}):
                yield f"{role} may change {table}, by a right that all or another role have."


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)
