"""The fitted encoder: it travels in the manifest, so that serving does to a row what training did to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ml_service.features.options import Options
from ml_service.features.parts import LARGEST, CategoryPart, Cells, Floats, MomentPart, NumberPart, Part, Step
from ml_service.features.problems import NoFeatures
from platform_kit.contract.inputs import Value
from platform_kit.contract.schema import ColumnType

if TYPE_CHECKING:  # serving must not import pandas
    from ml_service.tables.table import Table

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Needs:
    """What an algorithm asks of its matrix.

    knows_missing: it takes NaN. wants_scaling: its answer depends on the columns' scales.
    """

    knows_missing: bool
    wants_scaling: bool


class Encoder(BaseModel):
    """One part for each input column, in the order of the input contract."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=FORMAT, ge=1, le=FORMAT)
    parts: list[Annotated[Part, Field(discriminator="kind")]]

    @classmethod
    def fit(cls, table: "Table", *, needs: Needs, options: Options) -> Self:
        """Learn from training rows. table: without the target. Raises NoFeatures."""
        kept = table.without(options.exclude)
        if not kept.columns:
            raise NoFeatures(
                "Every column is the target or excluded. Leave at least one column to learn from."
            )
        scales = needs.wants_scaling if options.scale is None else options.scale
        parts: list[Part] = []
        for column in kept.columns:
            cells = kept.values(column.name)
            parts.append(
                _learnt(
                    column.name,
                    column.type,
                    cells,
                    fills=not needs.knows_missing,
                    scales=scales,
                    options=options,
                )
            )
        return cls(parts=parts)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Self:
        return cls.model_validate(body)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    @property
    def names(self) -> list[str]:
        """The input columns."""
        return [each.name for each in self.parts]

    @property
    def features(self) -> list[str]:
        """The matrix's columns."""
        return [name for part in self.parts for name in part.features]

    @property
    def blocks(self) -> list[slice]:
        """The matrix's columns of each input column."""
        ends = list(accumulate(len(part.features) for part in self.parts))
        return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def matrix(self, table: "Table") -> Floats:
        """Encode a table's rows, finding columns by name: (n_rows, n_features), C-contiguous."""
        matrix = np.empty((table.row_count, len(self.features)), dtype=np.float64)
        for part, block in zip(self.parts, self.blocks, strict=True):
            part.fill(table.values(part.name), matrix[:, block])
        return matrix


class RowEncoder:
    """An encoder prepared for serving: rows of checked values to a matrix, bit-equal to `Encoder.matrix`."""

    def __init__(self, encoder: Encoder) -> None:
        self._writers = [
            (part.write, block.start) for part, block in zip(encoder.parts, encoder.blocks, strict=True)
        ]
        self._blank = [0.0] * len(encoder.features)
        self._takes_numbers_as_they_are = all(
            isinstance(each, NumberPart) and each.step == Step() for each in encoder.parts
        )

    def encode_rows(self, rows: Sequence[Sequence[Value]]) -> Floats:
        """rows: each row's values in the contract's order. Returns (n_rows, n_features), C-contiguous."""
        if self._takes_numbers_as_they_are:
            # None becomes NaN here, and true 1.
            return np.clip(np.array(rows, dtype=np.float64), -LARGEST, LARGEST)
        matrix = [self._encoded(row) for row in rows]
        return np.array(matrix, dtype=np.float64).reshape(len(rows), len(self._blank))

    def _encoded(self, values: Sequence[Value]) -> list[float]:
        row = self._blank.copy()
        for (write, start), value in zip(self._writers, values, strict=True):
            write(value, row, start)
        return row


def _learnt(
    name: str, kind: ColumnType, cells: Cells, *, fills: bool, scales: bool, options: Options
) -> Part:
    match kind:
        case ColumnType.STRING:
            return CategoryPart.learnt(name, cells.tolist(), limit=options.max_categories)
        case ColumnType.DATETIME:
            return MomentPart.learnt(name, cells, fills=fills, scales=scales)
        case ColumnType.BOOLEAN:
            return NumberPart(name=name, type=kind, step=Step.learnt(cells, fills=fills, scales=False))
        case ColumnType.INTEGER | ColumnType.DECIMAL:
            return NumberPart(name=name, type=kind, step=Step.learnt(cells, fills=fills, scales=scales))
