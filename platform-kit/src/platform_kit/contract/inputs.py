"""The input contract of a model version: what a request may hold, learnt from the training data.

`RowChecker` turns one JSON object into values in the contract's order, and names everything that is wrong with it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeAlias

from pydantic import Field

from platform_kit.contract.base import Readable
from platform_kit.contract.hints import meant
from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shortened, shown
from platform_kit.contract.schema import ColumnType
from platform_kit.contract.texts import HALF_A_CHARACTER, is_whole_text

Value: TypeAlias = float | str | bool | None
"""A checked cell. Integers, decimals and datetimes (seconds since 1970, UTC) are floats."""

CATEGORIES_IN_A_HINT, NAMES_IN_A_HINT = 10, 30
MOST_UNKNOWN = 1000
"""Fields that nobody knows, of one row: so many are named."""
HINTS, HINTED_ROWS = 10, 20
"""What may have been meant is looked for so many times in a row, and in the first rows: nobody reads more."""


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
    on_missing: Policy = Field(default=Policy.REJECT, description="also of null, where training had none")
    on_out_of_range: Policy = Policy.WARN
    on_unknown_category: Policy = Policy.WARN
    example: int | float | str | bool | None = None
    typical: int | float | str | bool | None = Field(
        default=None,
        description="what `impute` puts in: the median, or the most frequent value; of a datetime, seconds since 1970",
    )


class InputContract(Readable):
    """All input fields of a version, in the order of the model's columns."""

    fields: list[FieldContract]
    on_unknown_field: Policy = Policy.REJECT

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.fields]


@dataclass(slots=True)
class CheckedRow:
    """values: one for each field of the contract, in its order; meaningless when there are errors.

    unlisted: how many errors or warnings of unknown fields there are beside those that are named.
    is_quiet: nobody wants to hear more warnings.
    """

    values: list[Value]
    errors: list[Issue] = field(default_factory=list)
    warnings: list[Issue] = field(default_factory=list)
    unlisted: int = 0
    is_quiet: bool = False

    @property
    def may_be_hinted(self) -> bool:
        return len(self.errors) + len(self.warnings) < HINTS


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
        self._on_unknown_field = contract.on_unknown_field
        self._categories = [
            frozenset(each.categories) if each.categories is not None else None for each in self._fields
        ]

    def check(
        self,
        row: Mapping[str, Any],
        *,
        pointer: Sequence[str | int],
        index: int | None = None,
        quiet: bool = False,
    ) -> CheckedRow:
        """Check one row; `pointer` says where it stands in the body, `index` is its number in a batch.

        quiet: without words about what is only to be noticed.
        """
        checked = CheckedRow(values=[], is_quiet=quiet)
        for position, spec in enumerate(self._fields):
            checked.values.append(self._value(spec, position, row, pointer, index, checked))
        if len(row) > len(self._fields) or not self._names.issuperset(row):
            self._note_unknown(row, pointer, index, checked)
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
        try:
            value = _typed(spec, raw)
        except _Refused as refusal:
            checked.errors.append(_issue(spec, refusal, raw, pointer_to(*pointer, spec.name), index))
            return None
        hints = not checked.is_quiet and checked.may_be_hinted and (index or 0) < HINTED_ROWS
        noticed = _noticed(spec, raw, value, self._categories[position], hints=hints)
        if noticed is None:
            return value
        policy, finding = noticed
        found = checked.errors if policy is Policy.REJECT else checked.warnings
        if policy is Policy.IMPUTE:
            finding.hint = _filled(spec)
            value = _typical(spec)
        if policy is Policy.REJECT or not checked.is_quiet:
            found.append(_issue(spec, finding, raw, pointer_to(*pointer, spec.name), index))
        return value

    def _note_unknown(
        self, row: Mapping[str, Any], pointer: Sequence[str | int], index: int | None, checked: CheckedRow
    ) -> None:
        unknown = [name for name in row if name not in self._names]
        checked.unlisted = max(0, len(unknown) - MOST_UNKNOWN)
        absent = [name for name in self._names if name not in row] or sorted(self._names)
        expected = _some_of([each.name for each in self._fields], NAMES_IN_A_HINT)
        for position, name in enumerate(unknown[:MOST_UNKNOWN]):
            near = meant(name, absent) if position < HINTS and (index or 0) < HINTED_ROWS else None
            issue = Issue(
                pointer=pointer_to(*pointer, shortened(name)),
                row=index,
                field=shortened(name),
                code=IssueCode.UNKNOWN_FIELD,
                expected=expected,
                hint=f"did you mean `{near}`?" if near else "remove it: the model does not know this field",
            )
            # A name that UTF-8 cannot say could not stand in a warning, which is part of an answer.
            is_error = self._on_unknown_field is Policy.REJECT or not is_whole_text(issue.pointer)
            (checked.errors if is_error else checked.warnings).append(issue)


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
    """The cell as its type's value; None also for one that is not there. Raises _Refused."""
    if raw is _ABSENT or raw is None:
        return None
    return _PARSERS[spec.type](spec, raw)


def _nothing(spec: FieldContract, raw: Any) -> tuple[Policy, _Refused] | None:
    """What is said of a cell without a value: null is one where training had rows without."""
    if raw is None:
        if spec.nullable:
            return None
        hint = f"training had a value for `{spec.name}` in every row"
        return spec.on_missing, _Refused(IssueCode.NULL_NOT_ALLOWED, expected=_described(spec), hint=hint)
    hint = f"add `{spec.name}`"
    return spec.on_missing, _Refused(IssueCode.MISSING_FIELD, expected=_described(spec), hint=hint)


def _typical(spec: FieldContract) -> Value:
    is_number = isinstance(spec.typical, int | float) and not isinstance(spec.typical, bool)
    return float(spec.typical) if is_number else spec.typical  # type: ignore[arg-type]  # is_number says so


def _filled(spec: FieldContract) -> str:
    if spec.typical is None:
        return "it counts as missing"
    value = _number(spec, spec.typical) if isinstance(_typical(spec), float) else shown(spec.typical)  # type: ignore[arg-type]
    return f"it counts as {value}, which is usual for `{spec.name}`"


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
    if not is_whole_text(raw):
        raise _Refused(IssueCode.MALFORMED, expected=_described(spec), hint=HALF_A_CHARACTER)
    return raw


def _datetime(spec: FieldContract, raw: Any) -> float:
    seconds = seconds_of(raw) if isinstance(raw, str) else None
    if seconds is not None:
        return seconds
    raise _Refused(
        IssueCode.WRONG_TYPE, expected=_described(spec), hint='send ISO 8601, such as "2026-01-31T12:00:00Z"'
    )


def seconds_of(text: str) -> float | None:
    """Seconds since 1970 of an ISO 8601 text, in UTC unless it says otherwise; None for any other text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_PARSERS: dict[ColumnType, Callable[[FieldContract, Any], Value]] = {
    ColumnType.INTEGER: _integer,
    ColumnType.DECIMAL: _decimal,
    ColumnType.BOOLEAN: _boolean,
    ColumnType.STRING: _string,
    ColumnType.DATETIME: _datetime,
}


def _noticed(
    spec: FieldContract, raw: Any, value: Value, known: frozenset[str] | None, *, hints: bool
) -> tuple[Policy, _Refused] | None:
    """What a well-typed value shows that training never saw, and what is to be done about it."""
    if value is None:
        return _nothing(spec, raw)
    if isinstance(value, str):
        if known is None or value in known:
            return None
        near = meant(value, known) if hints else None
        hint = f"did you mean `{near}`?" if near else None
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
    return _some_of(spec.categories or [], CATEGORIES_IN_A_HINT)


def _some_of(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return "one of: " + ", ".join(names[:most]) + more
