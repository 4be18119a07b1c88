"""Bytes on disk and what they hash to."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml_service.artifacts.problems import CorruptArtifact
from platform_kit.contract.artifact import ArtifactFile, object_key

PARTIAL = ".partial-"
"""How the names of what is still being written begin."""
_CHUNK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def described(path: Path) -> ArtifactFile:
    sha256 = sha256_of(path)
    return ArtifactFile(name=path.name, key=object_key(sha256), sha256=sha256, size_bytes=path.stat().st_size)


def verify(path: Path, sha256: str) -> None:
    """Raises CorruptArtifact when the file is missing or holds other bytes."""
    if not path.is_file():
        raise CorruptArtifact(f"{path.name} is missing.")
    found = sha256_of(path)
    if found != sha256:
        raise CorruptArtifact(f"{path.name} hashes to {found}, but the manifest says {sha256}.")


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A new folder to be filled, which takes the name `folder` when it is whole.

    Another thread or process may do the same at the same time: the first one's folder stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=folder.parent))
    try:
        yield partial
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file that only this user may read, all at once; of several that do so at once, one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=PARTIAL, dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
