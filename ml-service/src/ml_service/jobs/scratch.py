"""Folders for the temporary files of jobs: one for each worker process, and those of dead ones are cleared away.

A lock says who lives, not a process id: workers in different containers may share a volume.
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from uuid import uuid4

PREFIX = "worker-"
LOCK = ".lock"


class Scratch:
    """A worker's own folder, for as long as the process lives."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
        self._lock = _locked(new)
        # Named last: a sweep by another worker must not find it before it is locked.
        self.folder = new.rename(parent / f"{PREFIX}{uuid4().hex}")


def _sweep(parent: Path) -> None:
    """Remove the folders that no living worker holds."""
    for folder in parent.glob(f"{PREFIX}*"):
        lock = _locked(folder)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """Take a folder: a descriptor to keep, or None when somebody else has it or it is gone."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
