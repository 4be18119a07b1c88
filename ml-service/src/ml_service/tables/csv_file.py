"""CSV: one pass with the csv module, which knows exact lines, into compact columns of text."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ml_service.tables.encoding import encoding_of
from ml_service.tables.names import check_names
from ml_service.tables.problems import MAX_ISSUES, CellTooLong, EmptyFile, NoRows, NotCsv, RaggedRows
from ml_service.tables.text import cleaned
from platform_kit.contract.problem import Issue, IssueCode

DELIMITERS = ",;\t|"
_SAMPLE_CHARACTERS = 1 << 16
_SAMPLE_RECORDS = 50
_CHUNK_ROWS = 20_000

Record = tuple[int, list[str]]
"""The line on which a record starts, counting from 1, and its fields."""


def read_csv(path: Path) -> tuple[list[str], list[pa.ChunkedArray]]:
    """Return column names and columns of text, nulls where a value is missing. Raises TableProblem."""
    encoding = encoding_of(path, refusal=NotCsv)
    with path.open(encoding=encoding, newline="") as file:
        sample = file.read(_SAMPLE_CHARACTERS)
        _refuse_json(sample)
        file.seek(0)
        return _read(_records(file, _delimiter(sample)))


def _refuse_json(sample: str) -> None:
    compact = "".join(sample[:200].split())
    if compact.startswith(("[{", '{"')):
        raise NotCsv("The file holds JSON, not CSV. Give it a name that ends in .json and send it again.")


def _delimiter(sample: str) -> str:
    """The delimiter that gives the most records as many fields as the header; the comma if none does."""
    best, best_fit = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        widths = _widths(sample, delimiter)
        if not widths or widths[0] < 2:
            continue
        fit = (widths.count(widths[0]) / len(widths), widths[0])
        if fit > best_fit:
            best, best_fit = delimiter, fit
    return best


def _widths(sample: str, delimiter: str) -> list[int]:
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, skipinitialspace=True)
    widths: list[int] = []
    try:
        for record in reader:
            if record:
                widths.append(len(record))
            if len(widths) == _SAMPLE_RECORDS:
                return widths
    except csv.Error:
        return []
    # The sample may end in the middle of its last record.
    return widths[:-1] if len(sample) == _SAMPLE_CHARACTERS and len(widths) > 1 else widths


def _records(file: io.TextIOBase | io.TextIOWrapper, delimiter: str) -> Iterator[Record]:
    """Yield the records that are not blank. Raises NotCsv for broken quotes, CellTooLong."""
    reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
    line = 1
    try:
        for record in reader:
            if len(record) > 1 or (record and record[0].strip()):
                yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise _malformed(error, line) from error


def _malformed(error: csv.Error, line: int) -> NotCsv | CellTooLong:
    if "field larger than" in str(error):
        limit = csv.field_size_limit()
        issue = Issue(pointer="", line=line, code=IssueCode.TOO_LONG, expected=f"at most {limit} characters")
        return CellTooLong(
            f"The row that starts on line {line} has a cell of more than {limit} characters. "
            "Is a quote not closed?",
            errors=[issue],
        )
    issue = Issue(
        pointer="",
        line=line,
        code=IssueCode.MALFORMED,
        expected="quotes around a whole cell, and doubled inside it",
    )
    return NotCsv(f"The quotes in the row that starts on line {line} do not match: {error}.", errors=[issue])


def _read(records: Iterator[Record]) -> tuple[list[str], list[pa.ChunkedArray]]:
    header = next(records, None)
    if header is None:
        raise EmptyFile("The file holds blank lines only. Send one with a header and at least one row.")
    line, names = header[0], [name.strip() for name in header[1]]
    check_names(names, line=line)
    chunks: list[list[pa.Array]] = [[] for _ in names]
    batch: list[list[str]] = []
    numbered = enumerate(records)
    for row, (start, record) in numbered:
        if len(record) != len(names):
            raise _ragged((row, start, len(record)), numbered, len(names))
        batch.append(record)
        if len(batch) == _CHUNK_ROWS:
            _flush(batch, chunks)
    _flush(batch, chunks)
    if not chunks[0]:
        raise NoRows("The file has a header but no rows below it. Send one with at least one row.")
    return names, [cleaned(pa.chunked_array(parts, pa.string())) for parts in chunks]


def _flush(batch: list[list[str]], chunks: list[list[pa.Array]]) -> None:
    if not batch:
        return
    for parts, cells in zip(chunks, zip(*batch, strict=True), strict=True):
        parts.append(pa.array(cells, pa.string()))
    batch.clear()


def _ragged(first: tuple[int, int, int], rest: Iterator[tuple[int, Record]], expected: int) -> RaggedRows:
    """Read the rest of the file, so that every such row is counted and the first ones are named.

    first: row, line and number of fields of the row that was found.
    """
    found = [first]
    found.extend((row, line, len(record)) for row, (line, record) in rest if len(record) != expected)
    issues = [
        Issue(
            pointer="",
            row=row,
            line=line,
            code=IssueCode.RAGGED_ROW,
            got=f"{got} fields",
            expected=f"{expected} fields",
            hint="put quotes around a cell that holds the delimiter"
            if got > expected
            else "add the missing cells",
        )
        for row, line, got in found[:MAX_ISSUES]
    ]
    more = f" ({len(found) - 1} more rows differ too)" if len(found) > 1 else ""
    return RaggedRows(
        f"The header has {expected} fields, but line {first[1]} has {first[2]}{more}. "
        f"Give every row {expected} fields.",
        errors=issues,
    )
