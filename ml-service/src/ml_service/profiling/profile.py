"""The profile of a dataset version: the facts that people and later drift checks look at."""

import numpy as np
import pandas as pd

from ml_service.tables.moments import iso_text
from ml_service.tables.table import Array, Table, json_value
from platform_kit.contract.artifact import Label
from platform_kit.contract.jobs import ProfileResult
from platform_kit.contract.schema import (
    MAX_CATEGORIES,
    CategoryCount,
    Column,
    ColumnStatistics,
    ColumnType,
    DatasetStatistics,
)

PREVIEW_ROWS = 20
QUANTILES = np.linspace(0.0, 1.0, 21)
MAX_SHOWN_CHARACTERS = 256
"""Longer texts are prose: cut in the preview, and no categories."""


def profile(table: Table) -> ProfileResult:
    columns = {column.name: _statistics(column, table.values(column.name)) for column in table.columns}
    preview = [_shown(table.json_row(row)) for row in range(min(PREVIEW_ROWS, table.row_count))]
    return ProfileResult(
        columns=table.columns,
        statistics=DatasetStatistics(row_count=table.row_count, columns=columns),
        preview=preview,
    )


def _shown(row: dict[str, Label | None]) -> dict[str, Label | None]:
    return {
        name: value[:MAX_SHOWN_CHARACTERS] + "…"
        if isinstance(value, str) and len(value) > MAX_SHOWN_CHARACTERS
        else value
        for name, value in row.items()
    }


def _statistics(column: Column, cells: Array) -> ColumnStatistics:
    match column.type:
        case ColumnType.INTEGER | ColumnType.DECIMAL:
            return _of_numbers(column.type, cells)
        case ColumnType.DATETIME:
            return _of_moments(cells)
        case ColumnType.BOOLEAN | ColumnType.STRING:
            return _of_categories(column.type, cells)


def _of_numbers(kind: ColumnType, cells: Array) -> ColumnStatistics:
    """The standard deviation is that of a sample (n - 1)."""
    present = cells[~np.isnan(cells)]
    if not present.size:
        return ColumnStatistics(type=kind, count=0, missing=len(cells), distinct=0)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = (
            float(np.mean(present)),
            float(np.std(present, ddof=1)) if present.size > 1 else None,
        )
        quantiles = np.quantile(present, QUANTILES)
    return ColumnStatistics(
        type=kind,
        count=int(present.size),
        missing=len(cells) - int(present.size),
        distinct=int(np.unique(present).size),
        minimum=float(present.min()),
        maximum=float(present.max()),
        mean=_finite(mean),
        standard_deviation=_finite(deviation),
        quantiles=quantiles.tolist() if np.isfinite(quantiles).all() else None,
    )


def _finite(value: float | None) -> float | None:
    """Sums of numbers near the end of float64 overflow; then there is nothing to say."""
    return value if value is not None and np.isfinite(value) else None


def _of_moments(cells: Array) -> ColumnStatistics:
    present = cells[~np.isnan(cells)]
    return ColumnStatistics(
        type=ColumnType.DATETIME,
        count=int(present.size),
        missing=len(cells) - int(present.size),
        distinct=int(np.unique(present).size),
        minimum=iso_text(float(present.min())) if present.size else None,
        maximum=iso_text(float(present.max())) if present.size else None,
    )


def _of_categories(kind: ColumnType, cells: Array) -> ColumnStatistics:
    """Equally frequent values in their own order, so that equal files have equal profiles."""
    counts = pd.Series(cells).value_counts(dropna=True)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [
        pair for pair in ranked if kind is ColumnType.BOOLEAN or len(str(pair[0])) <= MAX_SHOWN_CHARACTERS
    ]
    categories = []
    for value, count in shown[:MAX_CATEGORIES]:
        label = json_value(kind, value)
        if isinstance(label, str | bool):
            categories.append(CategoryCount(value=label, count=int(count)))
    present = int(counts.sum())
    return ColumnStatistics(
        type=kind,
        count=present,
        missing=len(cells) - present,
        distinct=len(ranked),
        categories=categories,
        categories_complete=len(categories) == len(ranked),
    )
