"""Versions on this machine's disk: fetched once from object storage, verified every time they are loaded.

The folder is a cache: it may be deleted whenever nothing runs, and several processes may share it.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ml_service.artifacts.files import PARTIAL, appearing, sha256_of
from platform_kit.contract.artifact import Manifest, ManifestRef
from platform_kit.plumbing.object_store import DigestMismatch, ObjectStore

MANIFEST = "manifest.json"
ABANDONED_SECONDS = 3600
"""A fetch that has written nothing for so long belonged to a process that is no more."""


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
                folder.touch()
            except (DigestMismatch, OSError, ValueError):
                shutil.rmtree(folder, ignore_errors=True)
            else:
                return manifest, folder
        self._fetch(ref, folder)
        self._prune(keep=folder)
        return _verified(folder, ref), folder

    def renew(self, ref: ManifestRef) -> None:
        """Fetch the version again, whatever is here; what is here stays if that fails. Raises as `open`."""
        folder = self._folder / ref.sha256
        before = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self._folder)) / "before"
        try:
            if folder.exists():
                folder.rename(before)
            self._fetch(ref, folder)
        except BaseException:
            if before.exists() and not folder.exists():
                before.rename(folder)
            raise
        finally:
            shutil.rmtree(before.parent, ignore_errors=True)

    def _fetch(self, ref: ManifestRef, folder: Path) -> None:
        with appearing(folder) as partial:
            self._store.fetch(ref.key, partial / MANIFEST, sha256=ref.sha256)
            manifest = Manifest.model_validate_json((partial / MANIFEST).read_bytes())
            for file in manifest.files:
                if Path(file.name).name != file.name:
                    raise DigestMismatch(f"the manifest names a file outside its folder: {file.name!r}")
                self._store.fetch(file.key, partial / file.name, sha256=file.sha256)

    def _prune(self, *, keep: Path) -> None:
        """Forget the versions that were opened longest ago, and fetches that were never finished."""
        found = sorted(self._aged(), reverse=True)
        whole = [folder for _, folder in found if not folder.name.startswith(PARTIAL)]
        abandoned = [
            folder
            for changed_at, folder in found
            if folder.name.startswith(PARTIAL) and time.time() - changed_at > ABANDONED_SECONDS
        ]
        for old in whole[self._entries :] + abandoned:
            if old != keep:
                shutil.rmtree(old, ignore_errors=True)

    def _aged(self) -> Iterator[tuple[float, Path]]:
        """Each folder with its time of change; one that others rename or remove meanwhile is left out."""
        for folder in self._folder.iterdir():
            try:
                yield folder.stat().st_mtime, folder
            except FileNotFoundError:
                continue


def _verified(folder: Path, ref: ManifestRef) -> Manifest:
    if sha256_of(folder / MANIFEST) != ref.sha256:
        raise DigestMismatch(f"{MANIFEST} has changed")
    manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    for file in manifest.files:
        if sha256_of(folder / file.name) != file.sha256:
            raise DigestMismatch(f"{file.name} has changed")
    return manifest
