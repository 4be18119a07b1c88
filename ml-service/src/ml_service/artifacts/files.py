"""Bytes on disk and what they hash to."""

import hashlib
from pathlib import Path

from ml_service.artifacts.problems import CorruptArtifact
from platform_kit.contract.artifact import ArtifactFile, object_key

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
