"""Object storage through the plain S3 API.

The `minio` client is synchronous: the methods block, so async code calls them in a thread.
"""

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, Self
from uuid import uuid4

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

from platform_kit.plumbing.bucket import prepare_bucket
from platform_kit.plumbing.settings import KitSettings

PART_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
NONCURRENT_DAYS = 30
REFUSALS = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")
STORAGE_FAULTS = (S3Error, urllib3.exceptions.HTTPError, OSError)


class StorageUnavailable(Exception):
    """Object storage did not answer, or answered with a fault of its own; trying again may help."""


class StorageRefused(StorageUnavailable):
    """Object storage does not let this account do this; `code` says why, in the words of S3."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class ObjectMissing(Exception):
    """There is no object with this key."""


class DigestMismatch(Exception):
    """The bytes that were read are not the bytes that were written."""


class StoredObject(NamedTuple):
    """written: by the storage's own clock, as it says in `clock`."""

    key: str
    size_bytes: int
    written: datetime


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class ObjectStore:
    """One bucket."""

    def __init__(self, client: Minio, bucket: str) -> None:
        self._client, self._bucket = client, bucket

    @classmethod
    def from_settings(cls, settings: KitSettings) -> Self:
        pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=2, read=30),
            maxsize=16,
            retries=urllib3.Retry(total=2, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
        )
        client = Minio(
            settings.s3_endpoint,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key.get_secret_value(),
            region=settings.s3_region,
            secure=settings.s3_secure,
            http_client=pool,
        )
        return cls(client, settings.s3_bucket)

    def prepare(self, *, noncurrent_days: int = NONCURRENT_DAYS) -> None:
        """Make the bucket if there is none, and set it up. Replaced objects are kept so many days; 0: not at all."""
        with _faults():
            prepare_bucket(self._client, self._bucket, noncurrent_days=noncurrent_days)

    def check(self) -> None:
        """Raise unless the bucket answers."""
        with _faults():
            if not self._client.bucket_exists(self._bucket):
                raise ObjectMissing(self._bucket)

    def put_stream(
        self,
        key: str,
        stream: BinaryIO,
        *,
        size_bytes: int = -1,
        content_type: str = "application/octet-stream",
    ) -> None:
        """Write a stream, in parts, also one of unknown length; memory stays at a few parts."""
        with _faults():
            self._client.put_object(
                self._bucket, key, stream, length=size_bytes, part_size=PART_BYTES, content_type=content_type,
                num_parallel_uploads=2,
            )  # fmt: skip

    def put_bytes(self, key: str, content: bytes, *, content_type: str = "application/octet-stream") -> None:
        with _faults():
            self._client.put_object(
                self._bucket, key, io.BytesIO(content), len(content), content_type=content_type
            )

    def put_file(self, key: str, path: Path, *, content_type: str = "application/octet-stream") -> None:
        with _faults():
            self._client.fput_object(self._bucket, key, str(path), content_type=content_type)

    def read(self, key: str) -> bytes:
        return b"".join(self.stream(key))

    def stream(self, key: str) -> Iterator[bytes]:
        with _faults(key):
            response = self._client.get_object(self._bucket, key)
            try:
                yield from response.stream(CHUNK_BYTES)
            finally:
                response.close()
                response.release_conn()

    @contextmanager
    def opened(self, key: str) -> Iterator[tuple[int, Readable]]:
        """An object's size in bytes and its content, to be read in pieces. Raises ObjectMissing."""
        with _faults(key):
            size_bytes = self._client.stat_object(self._bucket, key).size or 0
            response = self._client.get_object(self._bucket, key)
        try:
            yield size_bytes, _Body(response)
        finally:
            response.close()
            response.release_conn()

    def fetch(
        self, key: str, path: Path, *, sha256: str, arrived: Callable[[int], object] | None = None
    ) -> None:
        """Write an object to `path`; raises DigestMismatch, and leaves no file, unless it hashes to `sha256`.

        arrived: called with the number of bytes that are there, as they come; what it raises ends the transfer.
        """
        digest, size_bytes = hashlib.sha256(), 0
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            for piece in self._arriving(key):
                size_bytes += len(piece)
                if arrived is not None:
                    arrived(size_bytes)
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != sha256:
            partial.unlink()
            raise DigestMismatch(f"{key} does not hash to {sha256}")
        partial.rename(path)

    def _arriving(self, key: str) -> Iterator[bytes]:
        """An object's bytes as they come, however few: `stream` waits until a whole chunk is there."""
        with _faults(key):
            response = self._client.get_object(self._bucket, key)
            try:
                while piece := response.read1(CHUNK_BYTES):
                    yield piece
            finally:
                response.close()
                response.release_conn()

    def exists(self, key: str) -> bool:
        try:
            with _faults(key):
                self._client.stat_object(self._bucket, key)
        except ObjectMissing:
            return False
        return True

    def list_keys(self, prefix: str, *, since: datetime | None = None) -> Iterator[str]:
        """Keys of current objects; of those alone that were written at `since` or later."""
        with _faults():
            for found in self._client.list_objects(self._bucket, prefix=prefix, recursive=True):
                written = found.last_modified
                if found.object_name is not None and (since is None or written is None or written >= since):
                    yield found.object_name

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Current objects; they are asked for in pages, so that memory stays at one of these."""
        with _faults():
            for found in self._client.list_objects(self._bucket, prefix=prefix, recursive=True):
                if found.object_name is not None and found.last_modified is not None:
                    yield StoredObject(found.object_name, found.size or 0, found.last_modified)

    def written(self, key: str) -> datetime | None:
        """When the current object was written, by the storage's own clock. Raises ObjectMissing."""
        with _faults(key):
            return self._client.stat_object(self._bucket, key).last_modified

    def clock(self) -> datetime | None:
        """What time it is for the storage: an object that is written now is said to be written then."""
        key = f"housekeeping/clock-{uuid4().hex}"
        self.put_bytes(key, b"")
        try:
            return self.written(key)
        finally:
            self.delete([key])

    def delete(self, keys: list[str]) -> None:
        """Delete objects; one that is not there is no error."""
        with _faults():
            failed = list(self._client.remove_objects(self._bucket, [DeleteObject(key) for key in keys]))
        if failed:
            raise StorageUnavailable(f"{len(failed)} objects were not deleted: {failed[0].message}")


class _Body:
    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response

    def read(self, size: int = -1, /) -> bytes:
        with _faults():
            return self._response.read(None if size < 0 else size)


class _faults:
    """Turn the client's errors into those that callers tell apart."""

    def __init__(self, key: str | None = None) -> None:
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, S3Error) and error.code in ("NoSuchKey", "NoSuchObject"):
            raise ObjectMissing(self._key) from error
        if isinstance(error, S3Error) and error.code in REFUSALS:
            raise StorageRefused(error.code, error.message or "no reason given") from error
        if isinstance(error, STORAGE_FAULTS) and not isinstance(error, FileNotFoundError):
            raise StorageUnavailable(str(error)) from error
