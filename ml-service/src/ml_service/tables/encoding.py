"""Which text encoding does this file have, if it is text at all?"""

import codecs
from pathlib import Path

from ml_service.tables.problems import EmptyFile, TableProblem, UndecodableText

_CHUNK_BYTES = 1 << 20
_BYTE_ORDER_MARKS = [
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]
_SIGNATURES = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "a gzip archive",
    b"PAR1": "a Parquet file",
    b"SQLite": "a SQLite database",
}
_CONTROL_CHARACTERS = bytes(set(range(32)) - {9, 10, 12, 13, 26})
_MAX_CONTROL_SHARE = 0.005


def encoding_of(path: Path, *, refusal: type[TableProblem]) -> str:
    """UTF-16 and UTF-8 by their mark, else UTF-8, else cp1252, the Western European encoding of Windows.

    Raises EmptyFile, UndecodableText, and `refusal` for a file that is not text.
    """
    with path.open("rb") as file:
        head = file.read(_CHUNK_BYTES)
    if not head.strip():
        raise EmptyFile("The file is empty. Send one with a header and at least one row.")
    for mark, name in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            _check_decodes(path, name)
            return name
    _refuse_binary(head, refusal)
    try:
        _check_decodes(path, "utf-8")
    except UndecodableText:
        _check_decodes(path, "cp1252")
        return "cp1252"
    return "utf-8"


def _refuse_binary(head: bytes, refusal: type[TableProblem]) -> None:
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature):
            raise refusal(f"The file is {name}. Export the table as CSV, JSON or Parquet and send that.")
    controls = len(head) - len(head.translate(None, _CONTROL_CHARACTERS))
    if b"\x00" in head or controls > _MAX_CONTROL_SHARE * len(head):
        raise refusal(
            "The file holds binary data, not text. Export the table as CSV, JSON or Parquet and send that."
        )


def _check_decodes(path: Path, name: str) -> None:
    decoder = codecs.getincrementaldecoder(name)()
    offset = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            _decode(decoder, chunk, offset)
            offset += len(chunk)
        _decode(decoder, b"", offset, is_last=True)


def _decode(decoder: codecs.IncrementalDecoder, chunk: bytes, offset: int, *, is_last: bool = False) -> None:
    try:
        decoder.decode(chunk, is_last)
    except UnicodeDecodeError as error:
        where = max(0, offset + error.start)
        raise UndecodableText(
            f"The text is neither UTF-8 nor Windows-1252: the byte at offset {where} has no meaning there. "
            "Save the file as UTF-8."
        ) from error
