"""A backup is a directory: the database, every object of the storage, and what they were when they were taken.

The database is read first. Objects are written before a row names them and are never changed, so the objects that are
read afterwards are all that the rows ask for.
"""

import hashlib
import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compose.engine import Compose
from compose.errors import Stopped

FORMAT = 1
DATABASE, OBJECTS, CONTENTS = "database.dump", "objects.tar", "contents.json"
PSQL = ("exec", "-T", "postgres", "psql", "--no-psqlrc", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres")
STATE = ("postgres", "minio", "redis-broker", "redis-cache")
STARTING_SECONDS = 300


def take(compose: Compose, parent: Path) -> Path:
    """Write a backup into a new directory of `parent`, and return that; nothing half-written is left behind."""
    folder = parent / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True, mode=0o700)
    try:
        _dump(compose, partial / DATABASE)
        _export(compose, partial / OBJECTS)
        (partial / CONTENTS).write_text(json.dumps(_contents(partial), indent=2) + "\n")
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(folder)
    return folder


def _dump(compose: Compose, path: Path) -> None:
    with path.open("wb") as file:
        compose.must(
            *("exec", "-T", "postgres", "pg_dump", "-U", "postgres", "--format=custom", "--create", "mlp"),
            stdout=file,
            failure="The database could not be read. Is the platform up? make health",
        )


def _export(compose: Compose, path: Path) -> None:
    with path.open("wb") as file:
        compose.must(
            *(
                "run",
                "--rm",
                "--no-deps",
                "-T",
                "migrate",
                "python",
                "-m",
                "api_server.cli",
                "export-objects",
            ),
            stdin=subprocess.DEVNULL,
            stdout=file,
            failure="The object storage could not be read. Is the platform up? make health",
        )


def _contents(folder: Path) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
            for name in (DATABASE, OBJECTS)
        },
    }


def check(folder: Path) -> dict[str, Any]:
    """What a backup holds. Raises Stopped unless every byte is what was written."""
    try:
        contents: dict[str, Any] = json.loads((folder / CONTENTS).read_text())
        files = contents["files"]
        differing = [name for name in (DATABASE, OBJECTS) if _sha256(folder / name) != files[name]["sha256"]]
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
    """Put the platform back to where the backup was taken; what it holds now is lost. The caller has called `check`."""
    wait = ("--wait", "--wait-timeout", str(STARTING_SECONDS))
    compose.must(
        "up", "-d", *wait, *STATE, failure="Postgres, Redis or the storage did not start. See: make logs"
    )
    others = [name for name in compose.config()["services"] if name not in STATE]
    compose.must("stop", *others, failure="The services could not be stopped.")
    _replace_database(compose, folder / DATABASE)
    compose.must("run", "--rm", "migrate", failure="The restored database could not be brought up to date.")
    _import(compose, folder / OBJECTS)
    compose.must("restart", "redis-cache", failure="redis-cache could not be restarted.")
    compose.must("up", "-d", *wait, failure="Not everything started again. See: make health")


def _replace_database(compose: Compose, dump: Path) -> None:
    compose.must(
        *(*PSQL, "-c", "DROP DATABASE IF EXISTS mlp WITH (FORCE)"),
        failure="The old database could not be dropped; nothing was changed.",
    )
    with dump.open("rb") as file:
        compose.must(
            *("exec", "-T", "postgres", "pg_restore", "-U", "postgres"),
            *("--create", "--exit-on-error", "--dbname=postgres"),
            stdin=file,
            failure=f"The database could not be restored from {dump}. Mend what is said above, and repeat the restore.",
        )


def _import(compose: Compose, archive: Path) -> None:
    with archive.open("rb") as file:
        compose.must(
            *(
                "run",
                "--rm",
                "--no-deps",
                "-T",
                "migrate",
                "python",
                "-m",
                "api_server.cli",
                "import-objects",
            ),
            stdin=file,
            failure=f"The objects could not be restored from {archive}. Repeat the restore.",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
