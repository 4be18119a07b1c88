"""The door of this room: a file on disk becomes a `Table`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias, assert_never

import pyarrow as pa

from ml_service.tables.characters import check_characters
from ml_service.tables.csv_file import read_csv
from ml_service.tables.json_file import read_json
from ml_service.tables.parquet_file import read_parquet
from ml_service.tables.problems import ColumnsChanged
from ml_service.tables.table import Array, Table, table_of
from ml_service.tables.text import DoesNotFit, convert, infer
from platform_kit.contract.problem import Issue, IssueCode, shown
from platform_kit.contract.schema import Column, ColumnType, FileType

Cells: TypeAlias = pa.ChunkedArray | tuple[ColumnType, Array]
"""A column as its format gives it: text whose type is still open, or typed by the file itself."""


def read(path: Path, file_type: FileType, *, columns: Sequence[Column] | None = None) -> Table:
    """Read a file. columns: of the dataset's profile; the table then has exactly those types.

    Raises TableProblem: what is wrong with the file, and where.
    """
    names, cells = _cells(path, file_type)
    if columns is None:
        typed = [_inferred(each) for each in cells]
    else:
        _check_same(names, columns)
        typed = [_as_known(column, each) for column, each in zip(columns, cells, strict=True)]
    for name, (kind, array) in zip(names, typed, strict=True):
        check_characters(name, array if kind is ColumnType.STRING else ())
    return table_of(names, [kind for kind, _ in typed], [array for _, array in typed])


def _cells(path: Path, file_type: FileType) -> tuple[list[str], Sequence[Cells]]:
    match file_type:
        case FileType.CSV:
            return read_csv(path)
        case FileType.JSON:
            return read_json(path)
        case FileType.PARQUET:
            return read_parquet(path)
        case _:
            assert_never(file_type)


def _inferred(cells: Cells) -> tuple[ColumnType, Array]:
    return cells if isinstance(cells, tuple) else infer(cells)


def _check_same(names: list[str], columns: Sequence[Column]) -> None:
    known = [each.name for each in columns]
    if names != known:
        raise ColumnsChanged(
            f"The file has the columns {', '.join(names)}, but the profile {', '.join(known)}."
        )


def _as_known(column: Column, cells: Cells) -> tuple[ColumnType, Array]:
    if isinstance(cells, tuple):
        kind, array = cells
        if kind is column.type:
            return kind, array
        raise _type_changed(column, str(kind))
    try:
        return column.type, convert(cells, column.type)
    except DoesNotFit as error:
        raise _type_changed(column, str(infer(cells)[0])) from error


def _type_changed(column: Column, got: str) -> ColumnsChanged:
    issue = Issue(
        pointer="", field=column.name, code=IssueCode.WRONG_TYPE, got=got, expected=str(column.type)
    )
    return ColumnsChanged(
        f"Column {shown(column.name)} reads as {got}, but the profile says {column.type}. Upload it again.",
        errors=[issue],
    )
