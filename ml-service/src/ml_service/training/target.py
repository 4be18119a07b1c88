"""The column to be predicted: is it fit for the task, and which classes does it hold?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_service.tables.table import Table, is_missing, json_value
from ml_service.training.problems import (
    TargetHasOneClass,
    TargetIsEmpty,
    TargetIsNotAClass,
    TargetIsNotNumeric,
    TargetMissing,
    TargetTooLarge,
    TooFewRows,
    TooManyClasses,
)
from platform_kit.contract.artifact import Label, Task
from platform_kit.contract.problem import Issue, IssueCode, shown
from platform_kit.contract.schema import Column, ColumnType

MIN_ROWS = 10
MAX_CLASSES = 200
MAX_TARGET = 1e38
MAX_DECIMAL_CLASSES = 20
"""Decimals that are not whole are taken as classes when there are this few of them."""


@dataclass(frozen=True, slots=True)
class Target:
    """values: for each kept row a class number (int64, places in `classes`) or a float64.

    rows: positions in the table of the rows that have a target; the others are dropped.
    """

    column: Column
    rows: npt.NDArray[np.intp]
    values: npt.NDArray[Any]
    classes: list[Label] | None
    dropped_rows: int


def target_of(table: Table, name: str, *, task: Task) -> Target:
    """Check the target and encode it. Raises a JobProblem naming what is wrong with it."""
    if name not in table.names:
        raise _missing(table, name)
    column = table.column(name)
    cells = table.values(name)
    rows = np.flatnonzero(~is_missing(cells))
    if rows.size == 0:
        raise TargetIsEmpty(
            f"The target column {shown(name)} has no value in any row. Choose another target."
        )
    if rows.size < MIN_ROWS:
        raise TooFewRows(f"Only {rows.size} rows have a target; training needs at least {MIN_ROWS}.")
    present = cells[rows]
    dropped = table.row_count - int(rows.size)
    if task is Task.REGRESSION:
        _check_numeric(column, present)
        _check_size(column, present)
        return Target(column, rows, present.astype(np.float64), None, dropped)
    labels, numbers = np.unique(present, return_inverse=True)
    _check_classes(column, labels)
    classes = [json_value(column.type, label) for label in labels.tolist()]
    return Target(
        column, rows, numbers.astype(np.int64), [each for each in classes if each is not None], dropped
    )


def _missing(table: Table, name: str) -> TargetMissing:
    listed = ", ".join(table.names)
    issue = Issue(
        pointer="/target",
        field="target",
        code=IssueCode.UNKNOWN_VALUE,
        got=shown(name),
        expected=f"one of: {listed}",
    )
    return TargetMissing(
        f"The dataset has no column {shown(name)}; its columns are {listed}.", errors=[issue]
    )


def _check_numeric(column: Column, present: npt.NDArray[Any]) -> None:
    if not column.type.is_numeric:
        raise TargetIsNotNumeric(
            f"Regression predicts a number, but the target {shown(column.name)} is a {column.type} column "
            f"(such as {shown(json_value(column.type, present[0]))}). Choose another, or classification."
        )


def _check_size(column: Column, present: npt.NDArray[Any]) -> None:
    largest = float(np.abs(present).max())
    if largest > MAX_TARGET:
        raise TargetTooLarge(
            f"The target {shown(column.name)} holds {largest:g}; beyond {MAX_TARGET:g} nothing is learnt: "
            "some libraries take them for infinite. Divide the target by a constant."
        )


def _check_classes(column: Column, labels: npt.NDArray[Any]) -> None:
    name = shown(column.name)
    if column.type is ColumnType.DATETIME:
        raise TargetIsNotAClass(f"The target {name} holds times, not classes. Choose another target.")
    if len(labels) == 1:
        only = shown(json_value(column.type, labels[0]))
        raise TargetHasOneClass(
            f"Every row has the target {name} = {only}. A classifier needs at least two classes."
        )
    if column.type is ColumnType.DECIMAL and len(labels) > MAX_DECIMAL_CLASSES and np.any(labels % 1):
        raise TargetIsNotAClass(
            f"The target {name} holds {len(labels)} different decimals, which are no classes. Use regression."
        )
    if len(labels) > MAX_CLASSES:
        raise TooManyClasses(
            f"The target {name} has {len(labels)} classes; at most {MAX_CLASSES} are learnt. "
            "Is it an identifier, or a number for regression?"
        )
