"""The input contract of a model version: what a request may hold, learnt from the training data.

`RowChecker` turns one JSON object into values in the contract's order, and names everything that is wrong with it.
"""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeAlias

from pydantic import Field

from platform_kit.contract.base import Readable
from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shown
from platform_kit.contract.schema import ColumnType

Value: TypeAlias = float | str | bool | None
"""A checked cell. Integers, decimals and datetimes (seconds since 1970, UTC) are floats."""

CATEGORIES_IN_A_HINT = 10


class Policy(StrEnum):
    REJECT = "reject"
    WARN = "warn"
    IMPUTE = "impute"


class FieldContract(Readable):
    """One input field: its type, and the values that training saw."""

    name: str
    type: ColumnType
    nullable: bool = Field(description="whether training had rows without a value")
    minimum: float | None = None
    maximum: float | None = None
    categories: list[str] | None = Field(default=None, description="null: any text is known")
    on_missing: Policy = Policy.REJECT
    on_out_of_range: Policy = Policy.WARN
    on_unknown_category: Policy = Policy.WARN
    example: int | float | str | bool | None = None


class InputContract(Readable):
    """All input fields of a version, in the order of the model's columns."""

    fields: list[FieldContract]

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.fields]


@dataclass(slots=True)
class CheckedRow:
    """values: one for each field of the contract, in its order; meaningless when there are errors."""

    values: list[Value]
    errors: list[Issue] = field(default_factory=list)
    warnings: list[Issue] = field(default_factory=list)


class _Refused(Exception):
    """A cell that does not fit its field; carries what to say about it."""

    def __init__(self, code: IssueCode, *, expected: str, hint: str | None = None) -> None:
        super().__init__(code)
        self.code, self.expected, self.hint = code, expected, hint


class RowChecker:
    """Check rows against one contract. Built once for each loaded version; holds no state of a request."""

    def __init__(self, contract: InputContract) -> None:
        self._fields = contract.fields
        self._names = frozenset(contract.names)
        self._categories = [
            frozenset(each.categories) if each.categories is not None else None for each in self._fields
        ]

    def check(
        self, row: Mapping[str, Any], *, pointer: Sequence[str | int], index: int | None = None
    ) -> CheckedRow:
        """Check one row; `pointer` says where it stands in the body, `index` is its number in a batch."""
        checked = CheckedRow(values=[])
        for position, spec in enumerate(self._fields):
            checked.values.append(self._value(spec, position, row, pointer, index, checked))
        if len(row) > len(self._fields) or not self._names.issuperset(row):
            checked.errors.extend(self._unknown(row, pointer, index))
        return checked

    def _value(
        self,
        spec: FieldContract,
        position: int,
        row: Mapping[str, Any],
        pointer: Sequence[str | int],
        index: int | None,
        checked: CheckedRow,
    ) -> Value:
        raw = row.get(spec.name, _ABSENT)
        where = pointer_to(*pointer, spec.name)
        try:
            value = _typed(spec, raw)
        except _Refused as refusal:
            checked.errors.append(_issue(spec, refusal, raw, where, index))
            return None
        noticed = _noticed(spec, value, self._categories[position])
        if noticed is not None:
            policy, finding = noticed
            (checked.errors if policy is Policy.REJECT else checked.warnings).append(
                _issue(spec, finding, raw, where, index)
            )
            return None if policy is Policy.IMPUTE else value
        return value

    def _unknown(
        self, row: Mapping[str, Any], pointer: Sequence[str | int], index: int | None
    ) -> list[Issue]:
        absent = [name for name in self._names if name not in row] or sorted(self._names)
        issues = []
        for name in row:
            if name in self._names:
                continue
            near = difflib.get_close_matches(name, absent, n=1, cutoff=0.6)
            issues.append(
                Issue(
                    pointer=pointer_to(*pointer, name),
                    row=index,
                    field=name,
                    code=IssueCode.UNKNOWN_FIELD,
                    expected=f"one of: {', '.join(each.name for each in self._fields)}",
                    hint=f"did you mean `{near[0]}`?"
                    if near
                    else "remove it: the model does not know this field",
                )
            )
        return issues


_ABSENT: Any = object()


def _issue(spec: FieldContract, refusal: _Refused, raw: Any, where: str, index: int | None) -> Issue:
    return Issue(
        pointer=where,
        row=index,
        field=spec.name,
        code=refusal.code,
        got=None if raw is _ABSENT else shown(raw),
        expected=refusal.expected,
        hint=refusal.hint,
    )


def _typed(spec: FieldContract, raw: Any) -> Value:
    if raw is _ABSENT:
        if spec.on_missing is Policy.IMPUTE:
            return None
        raise _Refused(IssueCode.MISSING_FIELD, expected=_described(spec), hint=f"add `{spec.name}`")
    if raw is None:
        if spec.nullable:
            return None
        hint = f"training had a value for `{spec.name}` in every row"
        raise _Refused(IssueCode.NULL_NOT_ALLOWED, expected=_described(spec), hint=hint)
    return _PARSERS[spec.type](spec, raw)


def _integer(spec: FieldContract, raw: Any) -> float:
    value = _decimal(spec, raw)
    if not value.is_integer():
        raise _Refused(IssueCode.WRONG_TYPE, expected=_described(spec), hint="round it before sending")
    return value


def _decimal(spec: FieldContract, raw: Any) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise _Refused(IssueCode.WRONG_TYPE, expected=_described(spec), hint=_number_hint(raw))
    try:
        value = float(raw)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise _Refused(IssueCode.NOT_FINITE, expected=_described(spec), hint="send a finite number")
    return value


def _number_hint(raw: Any) -> str | None:
    if isinstance(raw, str):
        return "send a JSON number, without quotes"
    return None


def _boolean(spec: FieldContract, raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise _Refused(
            IssueCode.WRONG_TYPE, expected=_described(spec), hint="send true or false, without quotes"
        )
    return raw


def _string(spec: FieldContract, raw: Any) -> str:
    if not isinstance(raw, str):
        raise _Refused(IssueCode.WRONG_TYPE, expected=_described(spec), hint="send a JSON string, in quotes")
    return raw


def _datetime(spec: FieldContract, raw: Any) -> float:
    if isinstance(raw, str):
        try:
            moment = datetime.fromisoformat(raw)
        except ValueError:
            moment = None
        if moment is not None:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    raise _Refused(
        IssueCode.WRONG_TYPE, expected=_described(spec), hint='send ISO 8601, such as "2026-01-31T12:00:00Z"'
    )


_PARSERS: dict[ColumnType, Callable[[FieldContract, Any], Value]] = {
    ColumnType.INTEGER: _integer,
    ColumnType.DECIMAL: _decimal,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.STRING: _string,
    ColumnType.DATETIME: _datetime,
}


def _noticed(
    spec: FieldContract, value: Value, known: frozenset[str] | None
) -> tuple[Policy, _Refused] | None:
    """What a well-typed value shows that training never saw."""
    if isinstance(value, str):
        if known is None or value in known:
            return None
        near = difflib.get_close_matches(value, known, n=1, cutoff=0.6)
        hint = f"did you mean `{near[0]}`?" if near else None
        return spec.on_unknown_category, _Refused(
            IssueCode.UNKNOWN_CATEGORY, expected=_described_categories(spec), hint=hint
        )
    if isinstance(value, float) and _is_outside(spec, value):
        expected = f"{_number(spec, spec.minimum)} to {_number(spec, spec.maximum)}"
        return spec.on_out_of_range, _Refused(IssueCode.OUT_OF_RANGE, expected=expected)
    return None


def _is_outside(spec: FieldContract, value: float) -> bool:
    below = spec.minimum is not None and value < spec.minimum
    return below or (spec.maximum is not None and value > spec.maximum)


def _number(spec: FieldContract, value: float | None) -> str:
    if value is None:
        return "any"
    if spec.type is ColumnType.DATETIME:
        return datetime.fromtimestamp(value, tz=UTC).isoformat()
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)


def _described(spec: FieldContract) -> str:
    return f"{spec.type} or null" if spec.nullable else str(spec.type)


def _described_categories(spec: FieldContract) -> str:
    names = spec.categories or []
    more = f" and {len(names) - CATEGORIES_IN_A_HINT} more" if len(names) > CATEGORIES_IN_A_HINT else ""
    return "one of: " + ", ".join(names[:CATEGORIES_IN_A_HINT]) + more
