"""Parquet: its types are taken as they are; text may turn out to be times, as in the other formats."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ml_service.tables.names import check_names
from ml_service.tables.problems import (
    EmptyFile,
    NonFiniteNumbers,
    NoRows,
    NotParquet,
    UndecodableText,
    UnsupportedColumnType,
)
from ml_service.tables.table import LARGEST_EXACT_INTEGER, Array
from ml_service.tables.text import convert, infer
from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shown
from platform_kit.contract.schema import ColumnType

_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
_MICROSECONDS = 1_000_000


def read_parquet(path: Path) -> tuple[list[str], list[tuple[ColumnType, Array]]]:
    """Return column names and typed columns. Raises TableProblem."""
    if path.stat().st_size == 0:
        raise EmptyFile("The file is empty. Send one with at least one row.")
    table, every_name = _load(path)
    kept = [number for number, name in enumerate(every_name) if not _PANDAS_INDEX.fullmatch(name)]
    names = [every_name[number] for number in kept]
    check_names(names)
    if table.num_rows == 0:
        raise NoRows("The file has columns but no rows. Send one with at least one row.")
    return names, [_column(name, table.column(number)) for name, number in zip(names, kept, strict=True)]


def _load(path: Path) -> tuple[pa.Table, list[str]]:
    """Return the table and its column names; in a damaged file neither need be valid text."""
    try:
        with pq.ParquetFile(path) as file:
            table = file.read(use_threads=False)
        table.validate(full=True)
        return table, list(table.column_names)
    except UnicodeDecodeError as error:
        raise UndecodableText("A column's name is not UTF-8. Write the file again.") from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise NotParquet(f"The file cannot be read as Parquet: {reason}.") from error


def _column(name: str, cells: pa.ChunkedArray) -> tuple[ColumnType, Array]:
    if pa.types.is_dictionary(cells.type):
        cells = pc.cast(cells, cells.type.value_type)
    kind = cells.type
    if pa.types.is_null(kind):
        return ColumnType.STRING, convert(pc.cast(cells, pa.string()), ColumnType.STRING)
    if pa.types.is_boolean(kind):
        return ColumnType.BOOLEAN, _floats(cells)
    if pa.types.is_integer(kind):
        return _integers(cells)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return ColumnType.DECIMAL, _decimals(name, cells)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return ColumnType.DATETIME, _moments(cells)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return infer(pc.cast(cells, pa.string()), (ColumnType.DATETIME,))
    raise _unsupported(name, kind)


def _floats(cells: pa.ChunkedArray) -> Array:
    values: Array = pc.cast(cells, pa.float64(), safe=False).to_numpy()
    return values


def _integers(cells: pa.ChunkedArray) -> tuple[ColumnType, Array]:
    values = _floats(cells)
    if np.any(np.abs(values) >= LARGEST_EXACT_INTEGER):
        return ColumnType.STRING, convert(pc.cast(cells, pa.string()), ColumnType.STRING)
    return ColumnType.INTEGER, values


def _decimals(name: str, cells: pa.ChunkedArray) -> Array:
    values = _floats(cells)
    endless = np.flatnonzero(np.isinf(values))
    if endless.size:
        row = int(endless[0])
        issue = Issue(
            pointer=pointer_to(row, name),
            row=row,
            field=name,
            code=IssueCode.NOT_FINITE,
            got=str(values[row]),
            expected="a finite number",
        )
        raise NonFiniteNumbers(
            f"Column {shown(name)} is infinite in {endless.size} rows, first in row {row}. "
            "Use null for a missing value.",
            errors=[issue],
        )
    return values


def _moments(cells: pa.ChunkedArray) -> Array:
    """Whole seconds stay exact, however far from 1970; a time without a zone is UTC."""
    stamps = pc.cast(pc.cast(cells, pa.timestamp("us"), safe=False), pa.int64())
    filled = stamps.fill_null(0).to_numpy()
    seconds = np.where(filled % _MICROSECONDS == 0, filled // _MICROSECONDS, filled / _MICROSECONDS)
    values: Array = np.where(stamps.is_null().to_numpy(), np.nan, seconds)
    return values


def _unsupported(name: str, kind: pa.DataType) -> UnsupportedColumnType:
    issue = Issue(pointer="", field=name, code=IssueCode.WRONG_TYPE, got=str(kind), expected="a flat type")
    return UnsupportedColumnType(
        f"Column {shown(name)} has the Parquet type {kind}. Use numbers, text, booleans or times.",
        errors=[issue],
    )
