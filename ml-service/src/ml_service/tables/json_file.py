"""JSON: an array of flat objects, or one object a line. The objects' keys are the columns."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ml_service.tables.characters import check_characters
from ml_service.tables.encoding import encoding_of
from ml_service.tables.names import check_names
from ml_service.tables.problems import (
    MAX_ISSUES,
    DuplicateColumns,
    MixedTypes,
    NestedValues,
    NonFiniteNumbers,
    NoRows,
    NotJson,
    RowsAreNotObjects,
)
from ml_service.tables.table import LARGEST_EXACT_INTEGER, Array
from ml_service.tables.text import infer
from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shown
from platform_kit.contract.schema import ColumnType

Row = dict[str, Any]
Kinds = set[type]

_NUMBERS: Kinds = {int, float}
_NAMES = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    dict: "object",
    list: "array",
    type(None): "null",
}


class JsonRows:
    """The rows of one file, and where each starts, so that a fault in one can be given a line."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offsets: list[int] = []
        self.rows: list[Row] = []
        for offset, row in _values(text):
            self._offsets.append(offset)
            if not isinstance(row, dict):
                raise self._not_an_object(row)
            self.rows.append(row)

    def issue(self, row: int, name: str, code: IssueCode, *, expected: str) -> Issue:
        value = self.rows[row][name]
        return Issue(
            pointer=pointer_to(row, name),
            row=row,
            line=self._line(row),
            field=name,
            code=code,
            got=shown(value),
            expected=expected,
        )

    def _line(self, row: int) -> int:
        return _line_of(self._text, self._offsets[row])

    def _not_an_object(self, value: Any) -> RowsAreNotObjects:
        row = len(self.rows)
        issue = Issue(
            pointer=pointer_to(row),
            row=row,
            line=self._line(row),
            code=IssueCode.WRONG_TYPE,
            got=shown(value),
            expected="an object",
        )
        return RowsAreNotObjects(
            f"Row {row} is a JSON {_NAMES[type(value)]}. Every row must be an object such as "
            '{"column": 1, "other": "text"}.',
            errors=[issue],
        )


def read_json(path: Path) -> tuple[list[str], list[tuple[ColumnType, Array]]]:
    """Return column names, in the order of their first appearance, and typed columns. Raises TableProblem."""
    text = path.read_text(encoding=encoding_of(path, refusal=NotJson))
    found = JsonRows(text)
    if not found.rows:
        raise NoRows("The file holds no objects. Send at least one row.")
    names = list(dict.fromkeys(name for row in found.rows for name in row))
    check_names(names)
    return names, [_column(found, name) for name in names]


class _RowRefused(ValueError):
    """Raised inside the parser, which knows no position: the row's start is added outside."""

    def __init__(
        self, problem: type[DuplicateColumns | NonFiniteNumbers], name: str, code: IssueCode
    ) -> None:
        super().__init__(name)
        self.problem, self.name, self.code = problem, name, code

    def at(self, row: int, line: int) -> DuplicateColumns | NonFiniteNumbers:
        issue = Issue(pointer=pointer_to(row), row=row, line=line, field=self.name, code=self.code)
        if self.problem is DuplicateColumns:
            return DuplicateColumns(
                f"Row {row} (line {line}) names {shown(self.name)} twice.", errors=[issue]
            )
        return NonFiniteNumbers(
            f"Row {row} (line {line}) holds {self.name}, which is not JSON. Write null for a missing value.",
            errors=[issue],
        )


def _unique(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _RowRefused(DuplicateColumns, repeated, IssueCode.DUPLICATE_COLUMN)
    return row


def _refuse_constant(name: str) -> None:
    raise _RowRefused(NonFiniteNumbers, name, IssueCode.NOT_FINITE)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)
_SPACE = " \t\r\n"


def _values(text: str) -> Iterator[tuple[int, Any]]:
    """Yield each row with its offset; rows stand in one array, or follow each other. Raises NotJson."""
    position = _skip_space(text, 0)
    in_array = text.startswith("[", position)
    if in_array:
        position = _skip_space(text, position + 1)
        if text.startswith("]", position):
            return
    row = 0
    while position < len(text) or in_array:
        value, end = _decode(text, position, row)
        yield position, value
        row += 1
        position = _skip_space(text, end)
        if in_array:
            if text.startswith("]", position):
                _refuse_rest(text, position + 1)
                return
            if not text.startswith(",", position):
                raise _not_json(text, position, "a comma or the array's end is missing")
            position = _skip_space(text, position + 1)


def _decode(text: str, position: int, row: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise _not_json(text, error.pos, error.msg[:1].lower() + error.msg[1:]) from error
    except _RowRefused as refusal:
        raise refusal.at(row, _line_of(text, position)) from refusal
    except (RecursionError, ValueError) as error:
        # ValueError: an integer of more digits than Python converts.
        raise _not_json(text, position, "the value is too deep or too long") from error


def _refuse_rest(text: str, position: int) -> None:
    rest = _skip_space(text, position)
    if rest < len(text):
        raise _not_json(text, rest, "there is more text after the array's end")


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return position


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _not_json(text: str, position: int, reason: str) -> NotJson:
    line = _line_of(text, position)
    column = position - text.rfind("\n", 0, position)
    issue = Issue(pointer="", line=line, code=IssueCode.MALFORMED, got=shown(text[position : position + 20]))
    return NotJson(
        f"The JSON breaks off at line {line}, column {column}: {reason}. "
        "Send an array of objects, or one object a line.",
        errors=[issue],
    )


def _column(found: JsonRows, name: str) -> tuple[ColumnType, Array]:
    cells = [row.get(name) for row in found.rows]
    kinds: Kinds = set(map(type, cells)) - {type(None)}
    if kinds & {dict, list}:
        raise _nested(found, name, cells)
    if len(kinds) > 1 and kinds != _NUMBERS:
        raise _mixed(found, name, cells)
    if kinds == {bool}:
        return ColumnType.BOOLEAN, _floats(cells)
    if kinds and kinds <= _NUMBERS:
        return _numbers(found, name, cells)
    check_characters(name, cells)
    return infer(pa.chunked_array([cells], pa.string()), (ColumnType.DATETIME,))


def _numbers(found: JsonRows, name: str, cells: list[Any]) -> tuple[ColumnType, Array]:
    integers = [cell for cell in cells if type(cell) is int]
    if any(abs(cell) >= LARGEST_EXACT_INTEGER for cell in integers):
        words = [None if cell is None else str(cell) for cell in cells]
        return ColumnType.STRING, np.array(words, dtype=object)
    values = _floats(cells)
    if np.isinf(values).any():
        rows = np.flatnonzero(np.isinf(values))[:MAX_ISSUES]
        issues = [
            found.issue(int(row), name, IssueCode.NOT_FINITE, expected="a finite number") for row in rows
        ]
        raise NonFiniteNumbers(
            f"Column {shown(name)} holds a number that is too large for a float64.", errors=issues
        )
    is_whole = len(integers) == np.count_nonzero(~np.isnan(values))
    return (ColumnType.INTEGER if is_whole else ColumnType.DECIMAL), values


def _floats(cells: list[Any]) -> Array:
    return np.array([np.nan if cell is None else float(cell) for cell in cells], dtype=np.float64)


def _nested(found: JsonRows, name: str, cells: list[Any]) -> NestedValues:
    rows = (row for row, cell in enumerate(cells) if isinstance(cell, dict | list))
    issues = [
        found.issue(row, name, IssueCode.WRONG_TYPE, expected="a number, a string, true, false or null")
        for row in islice(rows, MAX_ISSUES)
    ]
    first = issues[0]
    return NestedValues(
        f"Column {shown(name)} holds {first.got} in row {first.row} (line {first.line}). "
        "Flatten the objects: every value must be a number, a string, true, false or null.",
        errors=issues,
    )


def _mixed(found: JsonRows, name: str, cells: list[Any]) -> MixedTypes:
    """The type that most rows have is taken as meant, and the others are named."""
    names = [_NAMES[type(cell)] for cell in cells]
    counts = {each: names.count(each) for each in dict.fromkeys(names) if each != "null"}
    usual = max(counts, key=lambda each: counts[each])
    odd = (row for row, each in enumerate(names) if each not in (usual, "null"))
    issues = [found.issue(row, name, IssueCode.WRONG_TYPE, expected=usual) for row in islice(odd, MAX_ISSUES)]
    listed = " and ".join(f"{count} {each}s" if count > 1 else f"1 {each}" for each, count in counts.items())
    return MixedTypes(
        f"Column {shown(name)} holds {listed}; the first that is no {usual} is in row {issues[0].row} "
        f"(line {issues[0].line}). Give the column one type.",
        errors=issues,
    )
