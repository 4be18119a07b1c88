"""Commands of the control plane: `python -m api_server.cli --help`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api_server import tables
from api_server.archive import ArchiveRefused, read_objects, write_objects
from api_server.audit import service as audit
from api_server.audit.service import ChainBroken, Head
from api_server.auth import accounts
from api_server.auth.schemas import RegisterIn
from api_server.database import DatabaseUnavailable, make_engine, make_sessions, transaction
from api_server.housekeeping.sweep import Found, Sweep
from api_server.preparation import NotPrepared
from api_server.preparation import prepare as prepare_all
from api_server.settings import Settings
from platform_kit.contract.access import Role
from platform_kit.plumbing.logging import set_up_logging
from platform_kit.plumbing.object_store import ObjectStore, StorageUnavailable

ALEMBIC_INI = Path(__file__).resolve().parents[2] / "alembic.ini"


def prepare(options: argparse.Namespace) -> None:
    """Make all ready: the newest schema, the bucket, the first accounts. May be run again at any time."""
    settings = Settings.from_environment()
    set_up_logging(
        settings.service_name or "prepare", level=settings.log_level, log_format=settings.log_format
    )
    prepare_all(settings, Config(options.config))


def migrate(options: argparse.Namespace) -> None:
    """Bring the database to the newest schema."""
    command.upgrade(Config(options.config), "head")


def prepare_storage(options: argparse.Namespace) -> None:
    """Make the bucket, if it is missing, and set it up."""
    settings = Settings.from_environment()
    ObjectStore.from_settings(settings).prepare(noncurrent_days=settings.s3_noncurrent_days)


def export_objects(options: argparse.Namespace) -> None:
    """Write all objects of the storage to standard output, as a tar."""
    if sys.stdout.isatty():
        sys.exit("This writes a tar; send it to a file: ... export-objects > objects.tar")
    store = ObjectStore.from_settings(Settings.from_environment())
    written = write_objects(store, sys.stdout.buffer, since=options.since)
    sys.stdout.flush()
    sys.stderr.write(f"exported {written.objects} objects, {written.total_bytes} bytes\n")
    for key in written.left_out:
        sys.stderr.write(f"left out {key!r}, which is no object of the platform\n")


def import_objects(options: argparse.Namespace) -> None:
    """Put the objects of such a tar, read from standard input, into the storage."""
    store = ObjectStore.from_settings(Settings.from_environment())
    count, total_bytes = read_objects(store, sys.stdin.buffer)
    sys.stderr.write(f"imported {count} objects, {total_bytes} bytes\n")


def sweep(options: argparse.Namespace) -> None:
    """Delete objects of the storage that nothing refers to and that are old; the chore `orphaned_objects`, now."""
    settings = Settings.from_environment()
    verb = "would delete" if options.dry_run else "deleted"

    async def look() -> Found:
        engine = make_engine(settings)
        try:
            return await Sweep(
                make_sessions(engine),
                ObjectStore.from_settings(settings),
                grace_seconds=settings.orphan_grace_seconds,
                dry_run=options.dry_run,
                orphan=lambda each: _say(
                    f"{verb} {each.key}: {each.size_bytes} bytes, written {each.written:%Y-%m-%d %H:%M:%S} UTC"
                ),
                missing=lambda key: _say(f"missing {key}: a row refers to it"),
            ).run()
        finally:
            await engine.dispose()

    for name, count in asyncio.run(look()).counts().items():
        _say(f"{name}: {count}")


def seed_accounts(options: argparse.Namespace) -> None:
    """Make the accounts of a credentials file; existing ones stay as they are."""
    users = json.loads(options.file.read_text())["users"]

    async def seed(session: AsyncSession) -> None:
        for user in users:
            body = RegisterIn(email=user["email"], username=user["username"], password=user["password"])
            await accounts.make_account_once(session, body, role=Role(user["role"]))

    asyncio.run(_in_transaction(seed))


def create_admin(options: argparse.Namespace) -> None:
    """Make an administrator; the password is read from standard input."""
    body = RegisterIn(
        email=options.email, username=options.username, password=sys.stdin.readline().rstrip("\n")
    )

    async def make(session: AsyncSession) -> None:
        await accounts.make_account(session, body, role=Role.ADMIN)

    asyncio.run(_in_transaction(make))


def verify_audit(options: argparse.Namespace) -> None:
    """Prove that nobody changed the audit log: compute its chain of hashes anew. Exit 1 if it does not hold."""
    expected = options.expect and Head(int(options.expect[0]), options.expect[1])

    async def verify() -> Head:
        engine = make_engine(Settings.from_environment())
        try:
            return await audit.verify(make_sessions(engine), expected=expected)
        finally:
            await engine.dispose()

    head = asyncio.run(verify())
    sys.stdout.write(
        f"The audit log holds: {head.seq} entries. Write this down elsewhere, and next time give\n"
    )
    sys.stdout.write(f"  --expect {head.seq} {head.hash}\n")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


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
        ("prepare", prepare),
        ("migrate", migrate),
        ("prepare-storage", prepare_storage),
        ("seed-accounts", seed_accounts),
        ("create-admin", create_admin),
        ("verify-audit", verify_audit),
        ("export-objects", export_objects),
        ("import-objects", import_objects),
        ("sweep", sweep),
    ):
        each = commands.add_parser(name, help=run.__doc__)
        each.set_defaults(run=run)
        if run in (prepare, migrate):
            each.add_argument("--config", default=str(ALEMBIC_INI), help="path of alembic.ini")
        if run is export_objects:
            each.add_argument(
                "--since", type=datetime.fromisoformat, help="only what was written since, with its offset"
            )
        if run is sweep:
            each.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
        if run is seed_accounts:
            each.add_argument("--file", type=Path, required=True, help="credentials.json")
        if run is verify_audit:
            each.add_argument(
                "--expect", nargs=2, metavar=("SEQ", "HASH"), help="an entry that must be there"
            )
        if run is create_admin:
            each.add_argument("--email", required=True)
            each.add_argument("--username", required=True)
    return parser


def main() -> None:
    options = _parser().parse_args()
    try:
        options.run(options)
    except (DatabaseUnavailable, StorageUnavailable, NotPrepared, ArchiveRefused, ChainBroken) as error:
        sys.exit(f"{error}")
    except (ValidationError, OSError, KeyError, json.JSONDecodeError) as error:
        sys.exit(f"That did not work: {error}")


if __name__ == "__main__":
    main()
