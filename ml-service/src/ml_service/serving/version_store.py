"""Versions on this machine's disk: fetched once from object storage, verified every time they are loaded.

The folder is a cache: it may be deleted whenever nothing runs.
"""

import shutil
import tempfile
from pathlib import Path

from ml_service.artifacts.files import sha256_of
from platform_kit.contract.artifact import Manifest, ManifestRef
from platform_kit.plumbing.object_store import DigestMismatch, ObjectStore

MANIFEST = "manifest.json"


class VersionStore:
    """Its methods block: call them in a thread."""

    def __init__(self, store: ObjectStore, folder: Path, *, entries: int) -> None:
        self._store, self._folder, self._entries = store, folder, entries
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, ref: ManifestRef) -> tuple[Manifest, Path]:
        """The manifest, and the folder that holds its files; every byte is what it was when it was trained.

        Raises StorageUnavailable, ObjectMissing, and DigestMismatch when object storage itself holds other bytes.
        """
        folder = self._folder / ref.sha256
        if folder.exists():
            try:
                manifest = _verified(folder, ref)
            except (DigestMismatch, OSError, ValueError):
                shutil.rmtree(folder, ignore_errors=True)
            else:
                folder.touch()
                return manifest, folder
        self._fetch(ref, folder)
        self._prune(keep=folder)
        return _verified(folder, ref), folder

    def _fetch(self, ref: ManifestRef, folder: Path) -> None:
        partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=self._folder))
        try:
            self._store.fetch(ref.key, partial / MANIFEST, sha256=ref.sha256)
            manifest = Manifest.model_validate_json((partial / MANIFEST).read_bytes())
            for file in manifest.files:
                if Path(file.name).name != file.name:
                    raise DigestMismatch(f"the manifest names a file outside its folder: {file.name!r}")
                self._store.fetch(file.key, partial / file.name, sha256=file.sha256)
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _prune(self, *, keep: Path) -> None:
        """Forget the versions that were opened longest ago."""
        folders = sorted(self._folder.iterdir(), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in folders[self._entries :]:
            if old != keep:
                shutil.rmtree(old, ignore_errors=True)


def _verified(folder: Path, ref: ManifestRef) -> Manifest:
    if sha256_of(folder / MANIFEST) != ref.sha256:
        raise DigestMismatch(f"{MANIFEST} has changed")
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    for file in manifest.files:
        if sha256_of(folder / file.name) != file.sha256:
            raise DigestMismatch(f"{file.name} has changed")
    return manifest
