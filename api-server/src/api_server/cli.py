"""Commands of the control plane: `python -m api_server.cli --help`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api_server import tables
from api_server.auth import service as auth
from api_server.auth.schemas import RegisterIn
from api_server.database import DatabaseUnavailable, make_engine, make_sessions, transaction
from api_server.settings import Settings
from platform_kit.contract.access import Role
from platform_kit.plumbing.object_store import ObjectStore, StorageUnavailable

ALEMBIC_INI = Path(__file__).resolve().parents[2] / "alembic.ini"


def migrate(options: argparse.Namespace) -> None:
    """Bring the database to the newest schema."""
    command.upgrade(Config(options.config), "head")


def prepare_storage(options: argparse.Namespace) -> None:
    """Make the bucket, if it is missing."""
    ObjectStore.from_settings(Settings.from_environment()).prepare()


def seed_accounts(options: argparse.Namespace) -> None:
    """Make the accounts of a credentials file; existing ones get its password and role."""
    users = json.loads(options.file.read_text())["users"]

    async def seed(session: AsyncSession) -> None:
        for user in users:
            body = RegisterIn(email=user["email"], username=user["username"], password=user["password"])
            await auth.make_account(session, body, role=Role(user["role"]))

    asyncio.run(_in_transaction(seed))


def create_admin(options: argparse.Namespace) -> None:
    """Make an administrator; the password is read from standard input."""
    body = RegisterIn(
        email=options.email, username=options.username, password=sys.stdin.readline().rstrip("\n")
    )

    async def make(session: AsyncSession) -> None:
        await auth.make_account(session, body, role=Role.ADMIN)

    asyncio.run(_in_transaction(make))


async def _in_transaction(work: Callable[[AsyncSession], Awaitable[None]]) -> None:
    assert tables.metadata.tables  # importing `tables` is what makes foreign keys resolve here
    engine = make_engine(Settings.from_environment())
    async with transaction(make_sessions(engine)) as session:
        await work(session)
    await engine.dispose()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="api_server.cli", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, run in (
        ("migrate", migrate),
        ("prepare-storage", prepare_storage),
        ("seed-accounts", seed_accounts),
        ("create-admin", create_admin),
    ):
        each = commands.add_parser(name, help=run.__doc__)
        each.set_defaults(run=run)
        if run is migrate:
            each.add_argument("--config", default=str(ALEMBIC_INI), help="path of alembic.ini")
        if run is seed_accounts:
            each.add_argument("--file", type=Path, required=True, help="credentials.json")
        if run is create_admin:
            each.add_argument("--email", required=True)
            each.add_argument("--username", required=True)
    return parser


def main() -> None:
    options = _parser().parse_args()
    try:
        options.run(options)
    except (DatabaseUnavailable, StorageUnavailable) as error:
        sys.exit(f"{error}")
    except (ValidationError, OSError, KeyError, json.JSONDecodeError) as error:
        sys.exit(f"That did not work: {error}")


if __name__ == "__main__":
    main()
