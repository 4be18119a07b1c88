"""The one shape in which this service holds tabular data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml_service.tables.moments import iso_text
from platform_kit.contract.artifact import Label
from platform_kit.contract.schema import Column, ColumnType

Array = npt.NDArray[Any]

LARGEST_EXACT_INTEGER = 2**53
"""Beyond it a float64 skips integers, so such columns hold identifiers: they are strings."""


@dataclass(frozen=True, slots=True)
class Table:
    """Typed columns of equal length.

    frame: a column for each of `columns`, in that order, with the default index. Its dtypes:
    integer, decimal: float64, finite, NaN where missing;
    datetime: float64, seconds since 1970 (UTC), NaN where missing;
    boolean: float64, 0.0 or 1.0, NaN where missing;
    string: object, str or None where missing.
    """

    columns: list[Column]
    frame: pd.DataFrame

    @property
    def row_count(self) -> int:
        return len(self.frame)

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.columns]

    def column(self, name: str) -> Column:
        return next(each for each in self.columns if each.name == name)

    def values(self, name: str) -> Array:
        return self.frame[name].to_numpy()

    def without(self, names: Sequence[str]) -> "Table":
        kept = [each for each in self.columns if each.name not in names]
        return Table(kept, self.frame[[each.name for each in kept]])

    def rows(self, positions: Array) -> "Table":
        return Table(self.columns, self.frame.iloc[positions].reset_index(drop=True))

    def json_row(self, position: int) -> dict[str, Label | None]:
        """One row as the JSON object that the dataset held: integers are int, missing values None."""
        return {
            each.name: json_value(each.type, self.frame[each.name].iat[position]) for each in self.columns
        }


def table_of(names: Sequence[str], types: Sequence[ColumnType], arrays: Sequence[Array]) -> Table:
    """Put columns together; arrays must already have the dtypes that `Table` documents."""
    columns = [
        Column(name=name, type=kind, nullable=bool(is_missing(array).any()))
        for name, kind, array in zip(names, types, arrays, strict=True)
    ]
    series = {name: pd.Series(array, dtype=array.dtype) for name, array in zip(names, arrays, strict=True)}
    return Table(columns, pd.DataFrame(series))


def is_missing(array: Array) -> npt.NDArray[np.bool_]:
    return np.asarray(pd.isna(array))


def json_value(kind: ColumnType, value: Any) -> Label | None:
    """Give a cell of the frame back as the dataset's JSON holds it; times as ISO 8601 text."""
    if value is None or value != value:  # NaN alone differs from itself
        return None
    match kind:
        case ColumnType.INTEGER:
            return int(value)
        case ColumnType.DECIMAL:
            return float(value)
        case ColumnType.BOOLEAN:
            return bool(value)
        case ColumnType.DATETIME:
            return iso_text(float(value))
        case ColumnType.STRING:
            return str(value)
