"""The fast half of the input contract: most rows are in order, and need no more than to be found so.

Nothing is said about the others here: they go to `RowChecker`, which names all that is wrong with them.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from platform_kit.contract.inputs import FieldContract, InputContract, Value, seconds_of
from platform_kit.contract.schema import ColumnType
from platform_kit.contract.texts import is_whole_text

_LARGEST = sys.float_info.max
_ABSENT: Any = object()
_Step: TypeAlias = Callable[[Any], Value]


class _NotQuick(Exception):
    """Something is to be said about the cell."""


class QuickChecker:
    """What it lets through, `RowChecker` lets through without a warning, with the same values."""

    def __init__(self, contract: InputContract) -> None:
        self._count = len(contract.fields)
        self._decimals = all(
            each.type is ColumnType.DECIMAL and not each.nullable for each in contract.fields
        )
        self._bounds = [(each.name, *_bounds(each)) for each in contract.fields]
        self._steps = [(each.name, _step(each)) for each in contract.fields]

    def values(self, row: dict[str, Any]) -> list[Value] | None:
        """The values of a row in the contract's order; None if there is anything to say about it."""
        if len(row) != self._count:
            return None
        try:
            if self._decimals:
                return self._numbers(row)
            return [step(row.get(name, _ABSENT)) for name, step in self._steps]
        except _NotQuick:
            return None

    def _numbers(self, row: dict[str, Any]) -> list[Value]:
        """The most frequent contract in one loop: a call for each cell would take longer than all the rest."""
        values: list[Value] = []
        for name, low, high in self._bounds:
            value = row.get(name, _ABSENT)
            if type(value) is not float:
                if type(value) is not int:
                    raise _NotQuick
                value = _float(value)
            if not low <= value <= high:  # also what is not finite
                raise _NotQuick
            values.append(value)
        return values


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise _NotQuick from None


def _bounds(field: FieldContract) -> tuple[float, float]:
    low = -_LARGEST if field.minimum is None else field.minimum
    return low, _LARGEST if field.maximum is None else field.maximum


def _step(field: FieldContract) -> _Step:
    step = _STEPS[field.type](field)
    if not field.nullable:
        return step
    return lambda value: None if value is None else step(value)


def _decimal_step(field: FieldContract) -> _Step:
    low, high = _bounds(field)

    def step(value: Any) -> Value:
        if type(value) is not float:
            if type(value) is not int:
                raise _NotQuick
            value = _float(value)
        if not low <= value <= high:
            raise _NotQuick
        return float(value)

    return step


def _integer_step(field: FieldContract) -> _Step:
    decimal = _decimal_step(field)

    def step(value: Any) -> Value:
        if type(value) is float and not value.is_integer():
            raise _NotQuick
        return decimal(value)

    return step


def _boolean_step(_: FieldContract) -> _Step:
    def step(value: Any) -> Value:
        if value is not True and value is not False:
            raise _NotQuick
        return bool(value)

    return step


def _string_step(field: FieldContract) -> _Step:
    known = None if field.categories is None else frozenset(field.categories)

    def step(value: Any) -> Value:
        if type(value) is not str or (known is not None and value not in known):
            raise _NotQuick
        if not is_whole_text(value):
            raise _NotQuick
        return value

    return step


def _datetime_step(field: FieldContract) -> _Step:
    low, high = _bounds(field)

    def step(value: Any) -> Value:
        seconds = seconds_of(value) if type(value) is str else None
        if seconds is None or not low <= seconds <= high:
            raise _NotQuick
        return seconds

    return step


_STEPS: dict[ColumnType, Callable[[FieldContract], _Step]] = {
    ColumnType.INTEGER: _integer_step,
    ColumnType.DECIMAL: _decimal_step,
    ColumnType.BOOLEAN: _boolean_step,
    ColumnType.STRING: _string_step,
    ColumnType.DATETIME: _datetime_step,
}
