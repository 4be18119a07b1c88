"""Columns of text to typed columns: which type do all the values of this column share?"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml_service.tables.moments import epoch_seconds
from ml_service.tables.table import LARGEST_EXACT_INTEGER, Array
from platform_kit.contract.schema import ColumnType

MISSING_TOKENS = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
]  # fmt: skip
"""What CSV files write for "no value": the tokens that pandas.read_csv knows."""

# A leading zero ("00123", "007") marks a code and not a quantity, and a plus sign a telephone number.
_INTEGER = r"^-?(?:0|[1-9][0-9]*)$"
_DECIMAL = r"^-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].*)?$"


class DoesNotFit(Exception):
    """Some value is not of the asked type."""


def cleaned(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Trim white space and turn the tokens that stand for "missing" into nulls."""
    trimmed = pc.utf8_trim_whitespace(cells)
    absent = pc.is_in(trimmed, value_set=pa.array(MISSING_TOKENS))
    return pc.if_else(absent, pa.scalar(None, pa.string()), trimmed)


def infer(
    cells: pa.ChunkedArray, candidates: tuple[ColumnType, ...] = tuple(ColumnType)
) -> tuple[ColumnType, Array]:
    """Find the narrowest type that every value has; a column without any value is a string column."""
    if cells.null_count < len(cells):
        for kind in (ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.BOOLEAN, ColumnType.DATETIME):
            if kind not in candidates:
                continue
            try:
                return kind, convert(cells, kind)
            except DoesNotFit:
                continue
    return ColumnType.STRING, convert(cells, ColumnType.STRING)


def convert(cells: pa.ChunkedArray, kind: ColumnType) -> Array:
    """Give the column the dtype that `Table` documents. Raises DoesNotFit."""
    match kind:
        case ColumnType.INTEGER:
            return _integers(cells)
        case ColumnType.DECIMAL:
            return _decimals(cells)
        case ColumnType.BOOLEAN:
            return _booleans(cells)
        case ColumnType.DATETIME:
            return _moments(cells)
        case ColumnType.STRING:
            return _strings(cells)


def _require(cells: pa.ChunkedArray, pattern: str) -> None:
    """The first value is tried alone: it settles most columns that do not fit."""
    present = cells.drop_null()
    for part in (present.slice(0, 1), present):
        if not pc.all(pc.match_substring_regex(part, pattern), min_count=0).as_py():
            raise DoesNotFit


def _integers(cells: pa.ChunkedArray) -> Array:
    _require(cells, _INTEGER)
    values = _floats(cells)
    # Compared as floats: 2**53 + 1 rounds to 2**53, so the bound itself is already refused.
    if np.any(np.abs(values) >= LARGEST_EXACT_INTEGER):
        raise DoesNotFit
    return values


def _decimals(cells: pa.ChunkedArray) -> Array:
    _require(cells, _DECIMAL)
    values = _floats(cells)
    if np.isinf(values).any() or _has_long_integers(cells, values):
        raise DoesNotFit
    return values


def _has_long_integers(cells: pa.ChunkedArray, values: Array) -> bool:
    """Whether some value is written as an integer that a float64 cannot tell from its neighbours."""
    long = cells.filter(pa.array(np.abs(values) >= LARGEST_EXACT_INTEGER))
    return bool(pc.any(pc.match_substring_regex(long, _INTEGER), min_count=0).as_py())


def _floats(cells: pa.ChunkedArray) -> Array:
    values: Array = pc.cast(cells, pa.float64()).to_numpy()
    return values


def _booleans(cells: pa.ChunkedArray) -> Array:
    lowered = pc.utf8_lower(cells)
    _require(lowered, "^(?:true|false)$")
    values: Array = pc.cast(pc.equal(lowered, "true"), pa.float64()).to_numpy()
    return values


def _moments(cells: pa.ChunkedArray) -> Array:
    _require(cells, _DATE)
    try:
        seconds = [np.nan if text is None else epoch_seconds(text) for text in cells.to_pylist()]
    except ValueError as error:
        raise DoesNotFit from error
    return np.array(seconds, dtype=np.float64)


def _strings(cells: pa.ChunkedArray) -> Array:
    """Equal texts become one Python object, which keeps columns of categories small."""
    encoded: Any = cells.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    words = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    codes = encoded.indices.fill_null(len(words) - 1).to_numpy()
    values: Array = words[codes]
    return values
