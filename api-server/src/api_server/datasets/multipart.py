"""A multipart form, parsed as it arrives: fields are kept, the bytes of the one file are handed on."""

from collections.abc import Callable
from dataclasses import dataclass, field

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from api_server.datasets.errors import UploadBroken
from platform_kit.contract.problem import Issue, IssueCode
from platform_kit.plumbing.problems import InvalidRequest

MAX_FIELD_BYTES = 64 * 1024
MAX_PARTS = 50


@dataclass
class _Part:
    name: str = ""
    file_name: str | None = None
    value: bytearray = field(default_factory=bytearray)


class MultipartForm:
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
            raise field_problem(
                self._part.name, IssueCode.UNKNOWN_FIELD, "the file goes into the field `file`"
            )
        if self.file_name is not None:
            raise field_problem("file", IssueCode.DUPLICATE_KEY, "one file in each request")
        self.file_name = self._part.file_name or ""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part.file_name is not None:
            self._file_bytes.extend(data[start:end])
            return
        self._part.value.extend(data[start:end])
        if len(self._part.value) > MAX_FIELD_BYTES:
            raise field_problem(self._part.name, IssueCode.TOO_LONG, f"at most {MAX_FIELD_BYTES} bytes")

    def _end(self) -> None:
        if self._part.file_name is None:
            text = self._part.value.decode(errors="replace")
            self.fields.setdefault(self._part.name, []).append(text)

    def _finish(self) -> None:
        self.is_over = True


def field_problem(name: str, code: IssueCode, expected: str) -> InvalidRequest:
    issue = Issue(pointer=f"/{name}", field=name, code=code, expected=expected)
    return InvalidRequest(f"Please mend the form field `{name}`: {expected}.", errors=[issue])
