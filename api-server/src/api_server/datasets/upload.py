"""Receive a multipart form whose file goes straight to object storage, hashed on the way; it is never held whole.

Form fields may come before or after the file. Memory stays at a few parts of the upload, whatever its size.
"""

import asyncio
import hashlib
import io
import queue
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from fastapi import Request
from python_multipart.multipart import parse_options_header

from api_server.datasets.errors import EmptyFile, FileTooLarge, NotAForm, StorageAway, UploadBroken
from api_server.datasets.file_types import HEAD_BYTES, judge
from api_server.datasets.multipart import MAX_FIELD_BYTES, MAX_PARTS, MultipartForm, field_problem
from platform_kit.contract.problem import IssueCode
from platform_kit.contract.schema import FileType
from platform_kit.plumbing.object_store import ObjectStore, StorageUnavailable

QUEUED_CHUNKS = 64
PUT_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Received:
    """A stored file and the form fields that came with it (repeated fields in order)."""

    key: str
    file_name: str
    file_type: FileType
    size_bytes: int
    sha256: str
    fields: dict[str, list[str]]


@dataclass(frozen=True)
class Announced:
    """What is known when the file begins: the fields before it, and how long it can be; 0 bytes: that is not known."""

    fields: dict[str, list[str]]
    least_bytes: int = 0
    most_bytes: int = 0


Expect = Callable[[Announced], Awaitable[None]]
"""Raises what keeps the file from being received."""


class _Pipe(io.RawIOBase):
    """Bytes from the event loop to the thread that writes them; bounded, so a slow store slows the client."""

    def __init__(self) -> None:
        self._chunks: queue.Queue[bytes | None] = queue.Queue(QUEUED_CHUNKS)
        self._rest = b""
        self._is_over = False
        self.is_broken = False

    async def write_chunk(self, chunk: bytes | None) -> None:
        while not self.is_broken:
            try:
                self._chunks.put_nowait(chunk)
            except queue.Full:
                await asyncio.sleep(0.005)
            else:
                return

    def end_now(self) -> None:
        """Drop what is queued and let the reader see the end."""
        while not self._chunks.empty():
            self._chunks.get_nowait()
        self._chunks.put_nowait(None)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest and not self._is_over:
            chunk = self._chunks.get(timeout=PUT_TIMEOUT_SECONDS)
            self._is_over = chunk is None
            self._rest = chunk or b""
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


async def receive(
    request: Request, store: ObjectStore, *, folder: str, max_bytes: int, expect: Expect
) -> Received:
    """Store the form's file under `folder`; on any error nothing stays behind.

    Raises EmptyFile, FileTooLarge, FormatNotAccepted, UploadBroken, StorageAway, InvalidRequest, and what `expect`
    raises.
    """
    form, intake = MultipartForm(_boundary(request)), _Intake(max_bytes)
    _refuse_declared_size(request, max_bytes)
    key = f"{folder}/{uuid4().hex}"
    pipe = _Pipe()
    writing = asyncio.create_task(asyncio.to_thread(_put, store, key, pipe))
    try:
        await _pump(_expected(request, form, expect), form, intake, pipe)
        received = intake.result(form, key)
        await pipe.write_chunk(None)
        await writing
    except BaseException as error:
        pipe.is_broken = True
        await _abandon(writing, pipe, store, key)
        if isinstance(error, StorageUnavailable):
            raise StorageAway from error
        raise
    return received


class _Intake:
    """What is known of the file so far: how long it is, what it hashes to, whether it is one that we read."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._digest, self._size, self._head = hashlib.sha256(), 0, b""

    def add(self, data: bytes, *, file_name: str) -> None:
        """Raises FileTooLarge, FormatNotAccepted."""
        self._size += len(data)
        if self._size > self._max_bytes:
            raise FileTooLarge(f"The file is larger than the limit of {self._max_bytes} bytes.")
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
            if len(self._head) == HEAD_BYTES:
                judge(file_name, self._head)
        self._digest.update(data)

    def result(self, form: MultipartForm, key: str) -> Received:
        """Raises UploadBroken, EmptyFile, FormatNotAccepted, InvalidRequest."""
        if not form.is_over:
            raise UploadBroken("The multipart body ends in the middle; the upload was cut off.")
        if form.file_name is None:
            raise field_problem("file", IssueCode.MISSING_FIELD, "a file part with a file name")
        if self._size == 0:
            raise EmptyFile("The file has no bytes; send one with a header and rows.")
        file_type = judge(form.file_name, self._head)
        name = form.file_name.replace("\\", "/").rsplit("/", 1)[-1][:255]
        return Received(key, name, file_type, self._size, self._digest.hexdigest(), form.fields)


async def _expected(request: Request, form: MultipartForm, expect: Expect) -> AsyncIterator[bytes]:
    """The body; once the file has begun, and before it is read any further, `expect` is asked."""
    is_asked = False
    async for chunk in request.stream():
        if form.file_name is not None and not is_asked:
            is_asked = True
            await expect(_announced(request, form))
        yield chunk


def _announced(request: Request, form: MultipartForm) -> Announced:
    declared = request.headers.get("content-length", "0")
    most_bytes = int(declared) if declared.isdigit() else 0
    return Announced(dict(form.fields), max(0, most_bytes - MAX_PARTS * MAX_FIELD_BYTES), most_bytes)


async def _pump(body: AsyncIterator[bytes], form: MultipartForm, intake: _Intake, pipe: _Pipe) -> None:
    async for chunk in body:
        form.feed(chunk)
        data = form.take_file_bytes()
        if data:
            intake.add(data, file_name=form.file_name or "")
            await pipe.write_chunk(data)


def _put(store: ObjectStore, key: str, pipe: _Pipe) -> None:
    try:
        store.put_stream(key, io.BufferedReader(pipe, 1024 * 1024))
    except BaseException:
        pipe.is_broken = True
        raise


async def _abandon(writing: "asyncio.Task[None]", pipe: _Pipe, store: ObjectStore, key: str) -> None:
    """Let the writer come to its end, then remove what it wrote."""
    pipe.end_now()
    try:
        await writing
        await asyncio.to_thread(store.delete, [key])
    except (StorageUnavailable, queue.Empty, ValueError):
        return


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise NotAForm("Send the file as multipart/form-data, with the fields `file` and `name`.")
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise UploadBroken("The Content-Type names no boundary.")
    return boundary


def _refuse_declared_size(request: Request, max_bytes: int) -> None:
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > max_bytes + MAX_PARTS * MAX_FIELD_BYTES:
        raise FileTooLarge(f"The request declares {declared} bytes; the limit is {max_bytes}.")
