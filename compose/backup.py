"""A backup is a directory: the objects of the storage, the database, and what they were when they were taken.

Objects never change, and are there before a row names them. So all of them are read first, then the database, then the
objects that came meanwhile: what a row of the backup names is in it, even if it was deleted while the backup was taken.
"""

import hashlib
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from compose.engine import Compose
from compose.errors import Stopped

FORMAT = 1
OBJECTS, DATABASE, NEWER, CONTENTS = "objects.tar", "database.dump", "newer-objects.tar", "contents.json"
FILES = (OBJECTS, DATABASE, NEWER)
PSQL = ("exec", "-T", "postgres", "psql", "--no-psqlrc", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres")
API_COMMAND = ("run", "--rm", "--no-deps", "-T", "migrate", "python", "-m", "api_server.cli")
STATE = ("postgres", "minio", "redis-broker", "redis-cache")
STARTING_SECONDS = 300
CLOCKS_DIFFER = timedelta(minutes=2)
"""Between this machine and the storage; an object that is written twice does no harm."""


def take(compose: Compose, parent: Path) -> Path:
    """Write a backup into a new directory of `parent`, and return that; nothing half-written is left behind."""
    started = datetime.now(UTC)
    folder = parent / started.strftime("%Y-%m-%dT%H-%M-%SZ")
    partial = folder.with_name(folder.name + ".partial")
    try:
        partial.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise Stopped(
            f"{parent} cannot take a backup: {error.strerror}. Choose another: make backup TO=..."
        ) from None
    try:
        _export(compose, partial / OBJECTS)
        _dump(compose, partial / DATABASE)
        _export(compose, partial / NEWER, "--since", (started - CLOCKS_DIFFER).isoformat())
        (partial / CONTENTS).write_text(json.dumps(_contents(partial, started), indent=2) + "\n")
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(folder)
    return folder


def _dump(compose: Compose, path: Path) -> None:
    with path.open("wb") as file:
        compose.must(
            *("exec", "-T", "postgres", "pg_dump", "-U", "postgres", "--format=custom", "mlp"),
            stdout=file,
            failure="The database could not be read. Is the platform up? make health",
        )


def _export(compose: Compose, path: Path, *options: str) -> None:
    with path.open("wb") as file:
        compose.must(
            *(*API_COMMAND, "export-objects", *options),
            stdin=subprocess.DEVNULL,
            stdout=file,
            failure="The object storage could not be read. Is the platform up? make health",
        )


def _contents(folder: Path, started: datetime) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "taken_at": started.isoformat(timespec="seconds"),
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
            for name in FILES
        },
    }


def check(folder: Path) -> dict[str, Any]:
    """What a backup holds. Raises Stopped unless every byte is what was written."""
    try:
        contents: dict[str, Any] = json.loads((folder / CONTENTS).read_text())
        files = contents["files"]
        differing = [name for name in FILES if _sha256(folder / name) != files[name]["sha256"]]
    except FileNotFoundError as error:
        raise Stopped(f"{error.filename} is missing: {folder} is no complete backup.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Stopped(f"{folder / CONTENTS} cannot be read ({error}): this is no backup.") from None
    if contents.get("format") != FORMAT:
        raise Stopped(f"{folder} was taken by another release (format {contents.get('format')}).")
    if differing:
        raise Stopped(
            f"{', '.join(differing)} in {folder} has changed since it was written. Use another backup."
        )
    return contents


def restore(compose: Compose, folder: Path) -> None:
    """Put the platform back to where the backup was taken. The caller has called `check`.

    The database is replaced last, when everything else has held: until then the old one is untouched.
    """
    wait = ("--wait", "--wait-timeout", str(STARTING_SECONDS))
    compose.must("build", failure="Our images could not be built; nothing was changed.")
    compose.must(
        "up", "-d", *wait, *STATE, failure="Postgres, Redis or the storage did not start. See: make logs"
    )
    others = [name for name in compose.config()["services"] if name not in STATE]
    compose.must("stop", *others, failure="The services could not be stopped; nothing was changed.")
    compose.must("run", "--rm", "migrate", failure="The storage could not be prepared. Nothing was restored.")
    for archive in (OBJECTS, NEWER):
        _import(compose, folder / archive)
    _load_database(compose, folder / DATABASE)
    _swap_database(compose)
    compose.must("run", "--rm", "migrate", failure="The restored database could not be brought up to date.")
    compose.must("restart", "redis-cache", failure="redis-cache could not be restarted.")
    compose.must("up", "-d", *wait, failure="Not everything started again. See: make health")


def _load_database(compose: Compose, dump: Path) -> None:
    _sql(
        compose,
        "DROP DATABASE IF EXISTS mlp_restoring WITH (FORCE)",
        "CREATE DATABASE mlp_restoring OWNER mlp_owner TEMPLATE template0",
        failure="A database to restore into could not be made; the old one is untouched.",
    )
    with dump.open("rb") as file:
        compose.must(
            *("exec", "-T", "postgres", "pg_restore", "-U", "postgres"),
            *("--exit-on-error", "--dbname=mlp_restoring"),
            stdin=file,
            failure=f"The database could not be read from {dump}; the old one is untouched. make up starts it again.",
        )
    _sql(
        compose,
        # A backup from before there was mlp_owner gives all to mlp_app.
        "REASSIGN OWNED BY mlp_app TO mlp_owner",
        database="mlp_restoring",
        failure="The tables could not be given to mlp_owner; the old database is untouched.",
    )


def _swap_database(compose: Compose) -> None:
    _sql(
        compose,
        "DROP DATABASE IF EXISTS mlp WITH (FORCE)",
        "ALTER DATABASE mlp_restoring RENAME TO mlp",
        # As init-db has it: a dump knows what is inside a database only.
        "REVOKE ALL ON DATABASE mlp FROM PUBLIC",
        "GRANT CONNECT ON DATABASE mlp TO mlp_app, mlp_grafana, mlp_exporter",
        failure="The restored database (mlp_restoring) could not take the place of the old one. Repeat the restore.",
    )


def _sql(compose: Compose, *statements: str, failure: str, database: str = "postgres") -> None:
    commands = (part for each in statements for part in ("-c", each))
    compose.must(*PSQL, "-d", database, *commands, failure=failure)


def _import(compose: Compose, archive: Path) -> None:
    with archive.open("rb") as file:
        compose.must(
            *(*API_COMMAND, "import-objects"),
            stdin=file,
            failure=f"The objects could not be restored from {archive}; the database is untouched.",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
