"""The input contract of a model: what its training rows teach about each field."""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from ml_service.features.encoder import Encoder
from ml_service.features.parts import Cells, Floats
from platform_kit.contract.artifact import Label
from platform_kit.contract.inputs import FieldContract, InputContract
from platform_kit.contract.schema import MAX_CATEGORIES, Column, ColumnType

if TYPE_CHECKING:
    from ml_service.tables.table import Table

MAX_CATEGORY_CHARACTERS = 256
"""A column with a longer text is prose: any text is known."""


def contract_of(train: "Table", *, whole: "Table", encoder: Encoder) -> InputContract:
    """Describe the encoder's input columns.

    train: the rows that the model learns from; ranges and categories are theirs.
    whole: these and the held-out rows; a column that is sometimes empty there may be null in a request, on
    whichever side of the split such a row fell.
    """
    return InputContract(
        fields=[
            _field(whole.column(name), train, is_nullable=_has_gaps(whole, name)) for name in encoder.names
        ]
    )


def _has_gaps(table: "Table", name: str) -> bool:
    return any(value is None or value != value for value in table.values(name).tolist())  # NaN


def _field(column: Column, train: "Table", *, is_nullable: bool) -> FieldContract:
    cells = train.values(column.name)
    low, high = (None, None) if column.type in (ColumnType.STRING, ColumnType.BOOLEAN) else _range(cells)
    return FieldContract(
        name=column.name,
        type=column.type,
        nullable=is_nullable,
        minimum=low,
        maximum=high,
        categories=_categories(cells) if column.type is ColumnType.STRING else None,
        example=_example(train, column.name),
        typical=_typical(column.type, cells),
    )


def _range(cells: Floats) -> tuple[float | None, float | None]:
    present = cells[~np.isnan(cells)]
    return (float(present.min()), float(present.max())) if present.size else (None, None)


def _categories(cells: Cells) -> list[str] | None:
    texts = sorted({text for text in cells.tolist() if text is not None})
    if not texts or len(texts) > MAX_CATEGORIES or any(len(text) > MAX_CATEGORY_CHARACTERS for text in texts):
        return None
    return texts


def _example(train: "Table", name: str) -> Label | None:
    """The first real value of the column."""
    column = train.without([each for each in train.names if each != name])
    values = (column.json_row(position)[name] for position in range(column.row_count))
    return next((value for value in values if value is not None), None)


def _typical(kind: ColumnType, cells: Cells) -> Label | None:
    """What `impute` puts in. Equally frequent texts: the first by its text; booleans: false.

    The median of integers is the lower of the two middle ones, so that it is an integer too.
    """
    present = [cell for cell in cells.tolist() if cell is not None and cell == cell]  # NaN alone differs
    if not present:
        return None
    if kind in (ColumnType.STRING, ColumnType.BOOLEAN):
        counts = Counter(present)
        frequent = min(counts, key=lambda cell: (-counts[cell], cell))
        return bool(frequent) if kind is ColumnType.BOOLEAN else str(frequent)
    ranked = sorted(present)
    lower, upper = ranked[(len(ranked) - 1) // 2], ranked[len(ranked) // 2]
    # Halves first: the sum of two large numbers may be infinite.
    return int(lower) if kind is ColumnType.INTEGER else float(lower / 2 + upper / 2)
