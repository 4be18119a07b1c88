"""The objects of the storage as one tar, for backups: written to a pipe or read from one, a piece at a time."""

import tarfile
from datetime import datetime
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple, cast

from platform_kit.plumbing.object_store import ObjectMissing, ObjectStore

END_BYTES = 2 * tarfile.BLOCKSIZE
"""So many zeros are the end of every tar."""


class Written(NamedTuple):
    """left_out: keys that could not be put back, such as the folders that a storage console makes."""

    objects: int
    total_bytes: int
    left_out: list[str]


class ArchiveRefused(Exception):
    """The tar is not one of ours, or is not whole."""


def write_objects(store: ObjectStore, target: BinaryIO, *, since: datetime | None = None) -> Written:
    """Write all current objects under their keys, or those alone that were written since a moment."""
    count = total_bytes = 0
    left_out = []
    with tarfile.open(fileobj=target, mode="w|") as tar:
        for key in store.list_keys("", since=since):
            if not _is_key(key):
                left_out.append(key)
                continue
            try:
                total_bytes += _write(store, tar, key)
            except ObjectMissing:
                continue  # deleted since it was listed: no current object any more
            count += 1
    return Written(count, total_bytes, left_out)


def _write(store: ObjectStore, tar: tarfile.TarFile, key: str) -> int:
    with store.opened(key) as (size_bytes, body):
        entry = tarfile.TarInfo(key)
        entry.size, entry.mode = size_bytes, 0o600
        tar.addfile(entry, cast(BinaryIO, body))
    return size_bytes


def read_objects(store: ObjectStore, source: BinaryIO) -> tuple[int, int]:
    """Put what such a tar holds, over what is there; returns how many objects, and how many bytes.

    Raises ArchiveRefused, after the objects that came before the fault were put.
    """
    count = total_bytes = 0
    watched = _Watched(source)
    try:
        with tarfile.open(fileobj=cast(BinaryIO, watched), mode="r|") as tar:
            for entry in tar:
                total_bytes += _read(store, tar, entry)
                count += 1
    except tarfile.TarError as error:
        raise ArchiveRefused(f"After {count} objects the tar cannot be read: {error}.") from error
    if not watched.reaches_the_end():
        raise ArchiveRefused(f"After {count} objects the tar is cut off: it is not whole.")
    return count, total_bytes


class _Watched:
    """Remembers the last bytes: to `tarfile`, one that is cut off between two entries looks whole."""

    def __init__(self, source: BinaryIO) -> None:
        self._source, self._last = source, b""

    def read(self, size: int = -1, /) -> bytes:
        read = self._source.read(size)
        self._last = (self._last + read)[-END_BYTES:]
        return read

    def reaches_the_end(self) -> bool:
        while self.read(tarfile.RECORDSIZE):
            pass
        return self._last == bytes(END_BYTES)


def _read(store: ObjectStore, tar: tarfile.TarFile, entry: tarfile.TarInfo) -> int:
    if not entry.isreg() or not _is_key(entry.name):
        raise ArchiveRefused(
            f"The tar holds {entry.name!r}, which is no object: only files with plain relative names are."
        )
    content = tar.extractfile(entry)
    assert content is not None  # it is a file
    store.put_stream(entry.name, cast(BinaryIO, content), size_bytes=entry.size)
    return entry.size


def _is_key(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and str(path) == name and name != "."
