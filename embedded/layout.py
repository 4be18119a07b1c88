"""Where one platform keeps things on disk, and the lock that gives a directory to one platform at a time."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.errors import StartFailed

REPOSITORY = Path(__file__).resolve().parents[1]
DIRECTORIES = (
    *("postgres", "postgres.new", "redis-broker", "redis-cache", "s3"),
    *("ml-cache", "scratch", "logs", "run"),
)


@dataclass(frozen=True)
class Layout:
    root: Path

    @property
    def run(self) -> Path:
        """State of the running platform: lock, ports, processes."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def credentials(self) -> Path:
        return self.root / "credentials.json"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets.json"

    def prepare(self) -> None:
        """Make the directories. Others may pass through the root: Postgres may have to run as another user."""
        with self._writable():
            self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
            for private in (self.run, self.logs):
                private.mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the data directory. The kernel lets go when this process ends, however it ends."""
        with self._writable():
            file = (self.run / "lock").open("a+")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise StartFailed(
                    f"A platform (process {file.read().strip() or 'unknown'}) already runs on {self.root}. "
                    "Stop it first, or start another one beside it: "
                    "make dev PLATFORM_DATA_DIR=.data-2 API_PORT=8010 ML_PORT=8011"
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StartFailed(
                f"The data directory {self.root} cannot be used ({error.strerror}: {error.filename}). "
                "Choose another one with PLATFORM_DATA_DIR=<directory>, or give it to the user who runs this."
            ) from None

    def clean(self) -> None:
        """Delete what a platform made here, and nothing else. Call it only while holding the directory."""
        for entry in DIRECTORIES:
            shutil.rmtree(self.root / entry, ignore_errors=True)
        for file in (self.credentials, self.secrets):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # something of somebody else's is in it
            self.root.rmdir()


def write_private(path: Path, content: str) -> None:
    """Replace a file in one step; nobody but its owner can read it."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
    fresh.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """An absent or torn file counts as empty: all of them can be made again."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}
