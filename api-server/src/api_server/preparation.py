"""Makes everything ready that the services need: the database's schema, the storage's bucket, the first accounts.

It may be run again, and by several at once: what is there already stays as it is.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg
import structlog
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from pydantic import SecretStr, ValidationError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from api_server import tables
from api_server.auth import accounts
from api_server.auth.errors import AccountTaken
from api_server.auth.schemas import RegisterIn
from api_server.database import (
    DATABASE_FAULTS,
    PASSING_STATES,
    AsyncSession,
    DatabaseUnavailable,
    make_engine,
    make_sessions,
    transaction,
)
from api_server.rights import TwoDatabases
from api_server.settings import Settings
from platform_kit.contract.access import Role
from platform_kit.plumbing.object_store import ObjectStore, StorageRefused, StorageUnavailable
from platform_kit.plumbing.settings import MAX_PORT, Environment

RETRY_SECONDS = 1.0
DEMO_USERNAME, DEMO_EMAIL = "demo", "demo@example.com"
INSUFFICIENT_PRIVILEGE = "42501"
OF_COMPOSE = {"DATABASE_URL": "POSTGRES_APP_PASSWORD", "DATABASE_OWNER_URL": "POSTGRES_OWNER_PASSWORD"}
"""Where Compose takes the password of each from."""

log = structlog.get_logger(__name__)


class NotPrepared(Exception):
    """What is wrong and what to do about it, for whoever runs the platform."""


@dataclass(frozen=True)
class Account:
    """setting: what the names of its settings begin with."""

    setting: str
    username: str
    email: str
    password: SecretStr
    role: Role


def prepare(settings: Settings, alembic: Config) -> None:
    """Raises NotPrepared, DatabaseUnavailable, StorageUnavailable."""
    for name, url in _database_urls(settings).items():
        _await_database(name, url, patience_seconds=settings.prepare_patience_seconds)
    _migrate(alembic)
    log.info("prepare.database_ready", address=_address("DATABASE_URL", settings.database_url))
    _patiently(
        lambda: _prepare_storage(settings),
        away=(StorageUnavailable,),
        what=f"The S3 server at {settings.s3_endpoint} (S3_ENDPOINT)",
        patience_seconds=settings.prepare_patience_seconds,
    )
    log.info("prepare.storage_ready", bucket=settings.s3_bucket)
    asyncio.run(_make_accounts(settings))
    log.info("prepare.done")


def _database_urls(settings: Settings) -> dict[str, SecretStr]:
    """Of the application, and of the owner where that is another role."""
    urls = {"DATABASE_URL": settings.database_url, "DATABASE_OWNER_URL": settings.database_owner_url}
    return {name: url for name, url in urls.items() if url}


def _await_database(name: str, url: SecretStr, *, patience_seconds: float) -> None:
    _patiently(
        lambda: asyncio.run(_database_lets_us_in(name, url)),
        away=(OSError, asyncpg.PostgresError, *DATABASE_FAULTS),
        what=f"Postgres at {_address(name, url)} ({name})",
        patience_seconds=patience_seconds,
    )


def _patiently(
    attempt: Callable[[], None], *, away: tuple[type[Exception], ...], what: str, patience_seconds: float
) -> None:
    """Try again while the other side is away. Raises NotPrepared when patience ends."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            return attempt()
        except away as error:
            reason = str(error) or type(error).__name__
        if time.monotonic() >= deadline:
            raise NotPrepared(
                f"{what} did not answer within {patience_seconds:g} s: {reason}. Start it, or correct the address; "
                "PREPARE_PATIENCE_SECONDS says how long to wait."
            )
        log.info("prepare.waiting", waits_for=what, reason=reason)
        time.sleep(RETRY_SECONDS)


def _address(name: str, secret: SecretStr) -> str:
    """Host and port in a setting that leads to the database."""
    try:
        url = make_url(secret.get_secret_value())
    except (ArgumentError, ValueError):
        raise NotPrepared(_no_address(name)) from None
    port = url.port or 5432
    if port > MAX_PORT:
        raise NotPrepared(_no_address(name))
    return f"{url.host}:{port}"


def _no_address(name: str) -> str:
    return (
        f"{name} is no address; write postgresql+asyncpg://USER:PASSWORD@HOST:PORT/DATABASE, with special characters "
        "of the password percent-encoded."
    )


async def _database_lets_us_in(name: str, url: SecretStr) -> None:
    try:
        connection = await asyncpg.connect(url.get_secret_value().replace("+asyncpg", "", 1), timeout=3)
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise NotPrepared(
            f"Postgres refuses the user and password of {name} ({error}); with Compose the password is "
            f"{OF_COMPOSE[name]} in .env. `init-db` makes roles with their passwords on a new volume only: write down "
            "the one that the volume was made with, change it in the database with ALTER ROLE, or, if there is no such "
            'role yet, make it: docs/deployment.md, "Database roles".'
        ) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise NotPrepared(
            f"Postgres does not let the user of {name} in ({error}); give it the right: GRANT CONNECT ON DATABASE."
        ) from None
    except asyncpg.InvalidCatalogNameError as error:
        raise NotPrepared(
            f"Postgres has no such database as {name} names ({error}); correct the name, or create it."
        ) from None
    await connection.close()


def _migrate(alembic: Config) -> None:
    try:
        command.upgrade(alembic, "head")
    except TwoDatabases as error:
        raise NotPrepared(f"{error}") from None
    except DATABASE_FAULTS as error:
        raise NotPrepared(
            f"The database went away while it was migrated ({error}); nothing was changed. Run this again."
        ) from error
    except CommandError as error:
        raise NotPrepared(
            f"The database's schema is not one of this version of the platform ({error}). It was made by a newer "
            "one: start that version, or restore a backup."
        ) from error
    except DBAPIError as error:
        raise NotPrepared(_why_not_migrated(error)) from error


def _why_not_migrated(error: DBAPIError) -> str:
    state = str(getattr(error.orig, "sqlstate", ""))
    if state == INSUFFICIENT_PRIVILEGE:
        return (
            f"The user of DATABASE_OWNER_URL, or without that of DATABASE_URL, may not change the schema ({error.orig})"
            '; make it the owner of the database and of what is in it: docs/deployment.md, "Database roles".'
        )
    if state.startswith(PASSING_STATES):
        return (
            f"The database was too busy to be migrated ({error.orig}); nothing was changed. Run this again."
        )
    return f"The migration failed and nothing was changed: {error.orig}. This is a fault of ours; please report it."


def _prepare_storage(settings: Settings) -> None:
    try:
        ObjectStore.from_settings(settings).prepare(noncurrent_days=settings.s3_noncurrent_days)
    except StorageRefused as error:
        if error.code == "AccessDenied":
            raise NotPrepared(
                f"The S3 account of S3_ACCESS_KEY may not make or set up the bucket {settings.s3_bucket!r} ({error}). "
                "Give it all rights on this bucket, or name another one in S3_BUCKET."
            ) from error
        raise NotPrepared(
            f"The S3 server refuses S3_ACCESS_KEY and S3_SECRET_KEY ({error}); give it and the services the same."
        ) from error


def _accounts(settings: Settings) -> list[Account]:
    return [
        Account("ADMIN", settings.admin_username, settings.admin_email, settings.admin_password, Role.ADMIN),
        Account("DEMO", DEMO_USERNAME, DEMO_EMAIL, settings.demo_password, Role.DATA_SCIENTIST),
    ]


async def _make_accounts(settings: Settings) -> None:
    assert tables.metadata.tables  # importing `tables` is what makes foreign keys resolve here
    engine = make_engine(settings)
    try:
        for account in _accounts(settings):
            if account.password.get_secret_value():
                async with transaction(make_sessions(engine)) as session:
                    await _make_account(session, account)
        if settings.environment is Environment.PRODUCTION:
            async with transaction(make_sessions(engine)) as session:
                if await accounts.close_account(session, username=DEMO_USERNAME, email=DEMO_EMAIL):
                    log.info("prepare.account_closed", username=DEMO_USERNAME)
    except DatabaseUnavailable as error:
        raise NotPrepared("The database went away before the accounts were made. Run this again.") from error
    finally:
        await engine.dispose()


async def _make_account(session: AsyncSession, account: Account) -> None:
    try:
        body = RegisterIn(
            email=account.email, username=account.username, password=account.password.get_secret_value()
        )
        made = await accounts.make_account_once(session, body, role=account.role)
    except ValidationError as error:
        raise NotPrepared(" ".join(_sentences(account, error))) from None
    except AccountTaken:
        raise NotPrepared(
            f"Another account has the address {account.email}; set {account.setting}_EMAIL to one that is free."
        ) from None
    log.info("prepare.account_made" if made else "prepare.account_kept", username=account.username)


def _sentences(account: Account, error: ValidationError) -> list[str]:
    return [
        f"{account.setting}_{str(each['loc'][0]).upper()}: {each['msg'].removeprefix('Value error, ')}."
        for each in error.errors(include_input=False)
    ]
