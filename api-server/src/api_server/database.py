"""The unit of work: one request is one transaction, committed before the answer is sent."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import asyncpg
import structlog
from fastapi import Depends, Request
from sqlalchemy import DateTime, ExceptionContext, MetaData, event, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from api_server.settings import Settings
from platform_kit.plumbing.problems import Problem, Unavailable

__all__ = [
    "AsyncSession",
    "Base",
    "ChangedAtOnce",
    "DatabaseUnavailable",
    "HasCreatedAt",
    "HasId",
    "IntegrityError",
    "SessionDep",
    "Sessions",
    "SessionsDep",
    "after_commit",
    "before_commit",
    "get_session",
    "get_sessions",
    "is_of_the_database",
    "make_engine",
    "make_sessions",
    "transaction",
    "utc_now",
]
"""Services get AsyncSession and IntegrityError here: they hold a transaction and know a conflict, but speak no SQL."""

Sessions = async_sessionmaker[AsyncSession]

DATABASE_FAULTS = (
    OperationalError,
    InterfaceError,
    PoolTimeout,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    ConnectionError,
    TimeoutError,
)
"""What a lost, restarting or full Postgres raises; asyncpg's own errors come from connecting."""

PASSING_STATES = ("08", "40", "53", "55P03", "57")
"""SQLSTATEs, or their classes, of faults that pass: connection lost, deadlock, resources, lock wait, shutdown or start.

SQLAlchemy has no class of its own for them; they come as plain DBAPIError.
"""


_BEFORE_COMMIT, _AFTER_COMMIT = "before_commit", "after_commit"

log = structlog.get_logger(__name__)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[dict[str, Any]]: JSONB,
    }


class HasId:
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)


class HasCreatedAt:
    created_at: Mapped[datetime] = mapped_column(
        default=lambda: utc_now(), server_default=func.now(), index=True
    )


def utc_now() -> datetime:
    return datetime.now(UTC)


def make_engine(settings: Settings) -> AsyncEngine:
    engine = create_async_engine(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_pool_size,
        pool_timeout=5,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            "timeout": 3,
            "command_timeout": 15,
            "server_settings": {
                "application_name": "api-server",
                "lock_timeout": "5000",
                "idle_in_transaction_session_timeout": "60000",
            },
        },
    )
    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(engine.sync_engine, "handle_error", _know_lost_connection)
    return engine


def _connect(dialect: Any, record: object, arguments: Any, options: Any) -> Any:
    """Whatever keeps us out is one fault: also a full server, a password that is refused, a name that does not resolve.

    The last is what a container that was stopped looks like, and no ConnectionError to Python.
    """
    try:
        return dialect.connect(*arguments, **options)
    except (OSError, dialect.loaded_dbapi.Error) as error:
        reason = str(error) or type(error).__name__
        log.warning("database.not_connected", reason=reason)
        raise ConnectionError(reason) from error


def _know_lost_connection(context: ExceptionContext) -> None:
    """Postgres has said that it ends the connection, and the end itself is still on its way.

    asyncpg, which does not count it as closed until then, complains of its own state.
    """
    if isinstance(context.original_exception.__cause__, asyncpg.InternalClientError):
        context.is_disconnect = True


def make_sessions(engine: AsyncEngine, **known: object) -> Sessions:
    """known: what code that has nothing but a session finds in its `info`."""
    return async_sessionmaker(engine, expire_on_commit=False, info=known)


@asynccontextmanager
async def transaction(sessions: Sessions, *, of_one_statement: bool = False) -> AsyncIterator[AsyncSession]:
    """One transaction outside a request's own; a Postgres that is away is a 503, not a 500.

    of_one_statement: it is a transaction by itself, so that Postgres need not be told of a beginning and an end.
    """
    try:
        async with sessions() as session:
            async with session.begin():
                if of_one_statement:
                    await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
                yield session
                for step in session.info.pop(_BEFORE_COMMIT, ()):
                    await step(session)
            for say in session.info.pop(_AFTER_COMMIT, ()):
                say()
    except StaleDataError as error:
        raise ChangedAtOnce from error
    except DATABASE_FAULTS as error:
        raise DatabaseUnavailable from error
    except DBAPIError as error:
        passes = str(getattr(error.orig, "sqlstate", "")).startswith(PASSING_STATES)
        if not passes and not error.connection_invalidated:
            raise
        raise DatabaseUnavailable from error


def before_commit(session: AsyncSession, step: Callable[[AsyncSession], Awaitable[None]]) -> None:
    """Have `step` run as the last thing in this transaction, after the work and only if that went well."""
    session.info.setdefault(_BEFORE_COMMIT, []).append(step)


def after_commit(session: AsyncSession, step: Callable[[], None]) -> None:
    """Have `step` run once this transaction is committed; it may neither fail nor wait, for nobody could help it."""
    session.info.setdefault(_AFTER_COMMIT, []).append(step)


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"

    def __init__(self) -> None:
        super().__init__("The database does not answer; nothing was changed. Please try again.")


class ChangedAtOnce(Problem):
    """Two changes read the same revision, and the other one was written first."""

    status, title, code = 412, "Changed meanwhile", "changed_meanwhile"

    def __init__(self) -> None:
        super().__init__(
            "Somebody else changed this at the same moment; read it again, then repeat the change."
        )


async def get_sessions(request: Request) -> Sessions:
    """It waits for nothing; were it no coroutine, FastAPI would run it in a thread for every request."""
    sessions: Sessions = request.state.sessions
    return sessions


SessionsDep = Annotated[Sessions, Depends(get_sessions)]
"""For routes that wait or stream: they open short transactions themselves."""


def is_of_the_database(error: Exception) -> bool:
    """Whether an error came from Postgres or the way to it, and not from what we make of its answers."""
    return isinstance(error, (DBAPIError, StaleDataError, *DATABASE_FAULTS))


async def get_session(sessions: SessionsDep) -> AsyncIterator[AsyncSession]:
    async with transaction(sessions) as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]
"""scope="function" makes FastAPI run the commit before it sends the answer; its default would send 201 first."""
