"""Receive a multipart form whose file goes straight to object storage, hashed on the way; it is never held whole.

Form fields may come before or after the file. Memory stays at a few parts of the upload, whatever its size.
"""

import asyncio
import hashlib
import io
import queue
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from fastapi import Request
from platform_kit.contract.problem import Issue, IssueCode
from platform_kit.contract.schema import FileType
from platform_kit.plumbing.object_store import ObjectStore, StorageUnavailable
from platform_kit.plumbing.problems import InvalidRequest
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from api_server.datasets.errors import EmptyFile, FileTooLarge, NotAForm, StorageAway, UploadBroken
from api_server.datasets.file_types import HEAD_BYTES, judge

QUEUED_CHUNKS = 64
MAX_FIELD_BYTES = 64 * 1024
MAX_PARTS = 50
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


class _Pipe(io.RawIOBase):
    """Bytes from the event loop to the thread that writes them to storage; bounded, so a slow store slows the client."""

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


@dataclass
class _Part:
    name: str = ""
    file_name: str | None = None
    value: bytearray = field(default_factory=bytearray)


class _Form:
    """python-multipart's callbacks, turned into parts. File bytes are handed out by `take_file_bytes`."""

    def __init__(self, boundary: bytes) -> None:
        self.fields: dict[str, list[str]] = {}
        self.file_name: str | None = None
        self.is_over = False
        self._file_bytes = bytearray()
        self._part = _Part()
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._parts = 0
        callbacks: dict[str, Callable[..., None]] = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }
        self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]  # its TypedDict is not public

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise UploadBroken(f"The multipart body does not parse: {error}.") from error

    def take_file_bytes(self) -> bytes:
        taken = bytes(self._file_bytes)
        self._file_bytes.clear()
        return taken

    def _begin(self) -> None:
        self._part = _Part()
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise UploadBroken(f"The form has more than {MAX_PARTS} parts.")

    def _header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._header_value))
            self._part.name = options.get(b"name", b"").decode(errors="replace")
            if b"filename" in options:
                self._part.file_name = options[b"filename"].decode(errors="replace")
                self._start_file()
        self._header_name.clear()
        self._header_value.clear()

    def _start_file(self) -> None:
        if self._part.name != "file":
            raise _field_problem(
                self._part.name, IssueCode.UNKNOWN_FIELD, "the file goes into the field `file`"
            )
        if self.file_name is not None:
            raise _field_problem("file", IssueCode.DUPLICATE_KEY, "one file in each request")
        self.file_name = self._part.file_name or ""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part.file_name is not None:
            self._file_bytes.extend(data[start:end])
            return
        self._part.value.extend(data[start:end])
        if len(self._part.value) > MAX_FIELD_BYTES:
            raise _field_problem(self._part.name, IssueCode.TOO_LONG, f"at most {MAX_FIELD_BYTES} bytes")

    def _end(self) -> None:
        if self._part.file_name is None:
            text = self._part.value.decode(errors="replace")
            self.fields.setdefault(self._part.name, []).append(text)

    def _finish(self) -> None:
        self.is_over = True


async def receive(request: Request, store: ObjectStore, *, folder: str, max_bytes: int) -> Received:
    """Store the form's file under `folder`; on any error nothing stays behind.

    Raises EmptyFile, FileTooLarge, FormatNotAccepted, UploadBroken, StorageAway, InvalidRequest.
    """
    form = _Form(_boundary(request))
    _refuse_declared_size(request, max_bytes)
    key = f"{folder}/{uuid4().hex}"
    pipe = _Pipe()
    writing = asyncio.create_task(asyncio.to_thread(_put, store, key, pipe))
    try:
        received = await _pump(request.stream(), form, pipe, key=key, max_bytes=max_bytes)
        await pipe.write_chunk(None)
        await writing
    except BaseException as error:
        pipe.is_broken = True
        await _abandon(writing, pipe, store, key)
        if isinstance(error, StorageUnavailable):
            raise StorageAway from error
        raise
    return received


async def _pump(
    body: AsyncIterator[bytes], form: _Form, pipe: _Pipe, *, key: str, max_bytes: int
) -> Received:
    digest, size, head = hashlib.sha256(), 0, b""
    file_type: FileType | None = None
    async for chunk in body:
        form.feed(chunk)
        data = form.take_file_bytes()
        if not data:
            continue
        size += len(data)
        if size > max_bytes:
            raise FileTooLarge(f"The file is larger than the limit of {max_bytes} bytes.")
        if file_type is None:
            head += data[: HEAD_BYTES - len(head)]
            if len(head) >= HEAD_BYTES:
                file_type = judge(form.file_name or "", head)
        digest.update(data)
        await pipe.write_chunk(data)
    if not form.is_over:
        raise UploadBroken("The multipart body ends in the middle; the upload was cut off.")
    if form.file_name is None:
        raise _field_problem("file", IssueCode.MISSING_FIELD, "a file part with a file name")
    if size == 0:
        raise EmptyFile("The file has no bytes; send one with a header and rows.")
    file_type = file_type or judge(form.file_name, head)
    name = form.file_name.replace("\\", "/").rsplit("/", 1)[-1][:255]
    return Received(key, name, file_type, size, digest.hexdigest(), form.fields)


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


def _field_problem(name: str, code: IssueCode, expected: str) -> InvalidRequest:
    issue = Issue(pointer=f"/{name}", field=name, code=code, expected=expected)
    return InvalidRequest(f"Please mend the form field `{name}`: {expected}.", errors=[issue])
