"""The largest contributions as sentences."""

import math
from collections.abc import Sequence

from ml_service.tables.moments import iso_text
from platform_kit.contract.artifact import Label
from platform_kit.contract.inputs import FieldContract, Value
from platform_kit.contract.labels import label_key
from platform_kit.contract.prediction import Scale
from platform_kit.contract.problem import SHOWN_CHARACTERS, shown
from platform_kit.contract.schema import ColumnType

MOST_REASONS = 5
_SCALE_WORDS = {
    Scale.LOG_ODDS: "the log-odds of ",
    Scale.PROBABILITY: "the probability of ",
    Scale.TARGET: "",
}


def reasons_of(
    fields: Sequence[FieldContract],
    values: Sequence[Value],
    contributions: Sequence[float],
    *,
    scale: Scale,
    subject: Label,
) -> list[str]:
    """The largest first, equally large ones in the order of the columns; what contributed nothing is left out.

    subject: the class that is explained, or the name of the target.
    """
    score = _SCALE_WORDS[scale] + _cut(label_key(subject))
    order = sorted(range(len(fields)), key=lambda place: -abs(contributions[place]))
    return [
        _reason(fields[place], values[place], contributions[place], score)
        for place in order[:MOST_REASONS]
        if contributions[place] != 0
    ]


def _reason(field: FieldContract, value: Value, contribution: float, score: str) -> str:
    name = _cut(field.name)
    moved = f"{'raised' if contribution > 0 else 'lowered'} {score} by {rounded(abs(contribution), digits=3)}"
    if value is None:
        return f"{name} is missing, which {moved}"
    return f"{name} = {_written(field.type, value)} {moved}"


def _written(kind: ColumnType, value: Value) -> str:
    """As the caller would write it; decimals shortened."""
    if isinstance(value, str | bool):
        return shown(value)
    number = float(value or 0.0)
    match kind:
        case ColumnType.DATETIME:
            return iso_text(number)
        case ColumnType.INTEGER if abs(number) < 1e15:
            return str(int(number))
        case _:
            return rounded(number, digits=6)


def rounded(number: float, *, digits: int) -> str:
    """To significant digits, without an exponent where a person would write none."""
    short = float(f"{number:.{digits}g}")
    if short == 0 or not -5 <= math.floor(math.log10(abs(short))) < 15:
        return f"{short:.{digits}g}"
    text = f"{short:.{max(0, digits - 1 - math.floor(math.log10(abs(short))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
