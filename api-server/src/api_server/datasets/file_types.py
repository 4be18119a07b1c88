"""Is this a file we can read? Judged by its name and first bytes alone: a worker looks inside."""

from pathlib import PurePosixPath

from api_server.datasets.errors import FormatNotAccepted
from platform_kit.contract.schema import FileType

HEAD_BYTES = 16
_BY_SUFFIX = {
    ".csv": FileType.CSV,
    ".tsv": FileType.CSV,
    ".json": FileType.JSON,
    ".jsonl": FileType.JSON,
    ".ndjson": FileType.JSON,
    ".parquet": FileType.PARQUET,
    ".pq": FileType.PARQUET,
}
_FOREIGN = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive (or an Excel workbook)",
    b"\x1f\x8b": "a gzip file",
    b"\x7fELF": "a program",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"\x80\x04\x95": "a pickle",
    b"\x80\x05\x95": "a pickle",
    b"ARROW1": "an Arrow file",
    b"7z\xbc\xaf": "a 7z archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"SQLite format 3": "an SQLite database",
}
_PARQUET_MAGIC = b"PAR1"
ACCEPTED = "CSV (.csv, .tsv), JSON (.json, .jsonl, .ndjson) or Parquet (.parquet)"


def judge(file_name: str, head: bytes) -> FileType:
    """Return the type; raises FormatNotAccepted with what the file seems to be instead."""
    suffix = PurePosixPath(file_name.replace("\\", "/")).suffix.lower()
    file_type = _BY_SUFFIX.get(suffix)
    if file_type is None:
        named = f"`{suffix}`" if suffix else "a name without an extension"
        raise FormatNotAccepted(f"{named} is not accepted; send {ACCEPTED}.")
    for magic, meaning in _FOREIGN.items():
        if head.startswith(magic):
            raise FormatNotAccepted(f"The file is called {suffix} but is {meaning}; send {ACCEPTED}.")
    if (file_type is FileType.PARQUET) != head.startswith(_PARQUET_MAGIC):
        actual = "is not Parquet" if file_type is FileType.PARQUET else "is Parquet: name it .parquet"
        raise FormatNotAccepted(f"The file is called {suffix} but {actual}.")
    return file_type
