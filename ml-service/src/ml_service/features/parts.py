"""The parts of an encoder: each turns one input column into one or more columns of the matrix.

A part says how to do it twice, for a whole column (`fill`) and for one value (`write`). Both do the same
float64 operations in the same order, so that training and serving agree to the bit.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from platform_kit.contract.inputs import Value
from platform_kit.contract.schema import ColumnType

Floats: TypeAlias = npt.NDArray[np.float64]
Cells: TypeAlias = npt.NDArray[Any]
"""A column of a `Table`: float64 with NaN, or objects that are str or None."""

NAN = math.nan
LARGEST = float(np.finfo(np.float32).max)
"""Trees read float32: a larger number would be infinite there, and a request may send any finite number."""
FARTHEST = 1e9
"""Scaled columns end this many standard deviations from the mean: squares and products stay finite."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str


class Step(BaseModel):
    """What happens to a number: a missing one is filled, then it is centred and scaled.

    fill: None leaves NaN, for learners that know missing values. mean, deviation: None leaves the scale.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    fill: float | None = None
    mean: float | None = None
    deviation: float | None = None

    @classmethod
    def learnt(cls, values: Floats, *, fills: bool, scales: bool) -> Self:
        """fills with the median of what is present; scales by the mean and deviation after filling."""
        with np.errstate(over="ignore", invalid="ignore"):
            return cls._learnt(values, fills=fills, scales=scales)

    @classmethod
    def _learnt(cls, values: Floats, *, fills: bool, scales: bool) -> Self:
        fill = _median(values) if fills else None
        if not scales:
            return cls(fill=fill)
        known = values if fill is None else np.where(np.isnan(values), fill, values)
        known = known[~np.isnan(known)]
        mean = _finite(float(np.mean(known))) if known.size else 0.0
        deviation = _finite(float(np.std(known))) if known.size else 1.0
        # A deviation that is only rounding noise of a constant column would blow that noise up.
        is_constant = deviation <= 1e-12 * max(1.0, abs(mean))
        return cls(fill=fill, mean=mean, deviation=1.0 if is_constant else deviation)

    def of_column(self, values: Floats) -> Floats:
        if self.fill is not None:
            values = np.where(np.isnan(values), self.fill, values)
        if self.mean is None or self.deviation is None:
            return np.clip(values, -LARGEST, LARGEST)
        with np.errstate(over="ignore"):
            return np.clip((values - self.mean) / self.deviation, -FARTHEST, FARTHEST)

    def of_value(self, value: float) -> float:
        """The same for one float; NaN stands for missing."""
        if value != value:  # NaN alone differs from itself
            if self.fill is None:
                return value
            value = self.fill
        bound = LARGEST
        if self.mean is not None and self.deviation is not None:
            value = (value - self.mean) / self.deviation
            bound = FARTHEST
        return -bound if value < -bound else bound if value > bound else value


def _median(values: Floats) -> float:
    present = values[~np.isnan(values)]
    return _finite(float(np.median(present))) if present.size else 0.0


def _finite(value: float) -> float:
    """The mean of numbers near the end of float64 can overflow."""
    return value if math.isfinite(value) else math.copysign(LARGEST, value)


class NumberPart(_Part):
    """Integers and decimals as they are, booleans as 0 and 1."""

    kind: Literal["number"] = "number"
    type: ColumnType
    step: Step

    @property
    def features(self) -> list[str]:
        return [self.name]

    def fill(self, cells: Cells, into: Floats) -> None:
        into[:, 0] = self.step.of_column(cells)

    def write(self, value: Value, row: list[float], at: int) -> None:
        row[at] = self.step.of_value(NAN if value is None else float(value))


class CategoryPart(_Part):
    """One column for each frequent text.

    has_other: a column for all other texts, there if training had more texts than columns; otherwise a text
    that training never saw leaves all columns 0. has_missing: a column for "no value", if training had it.
    """

    kind: Literal["category"] = "category"
    categories: list[str]
    has_other: bool
    has_missing: bool

    @cached_property
    def places(self) -> dict[str, int]:
        return {text: place for place, text in enumerate(self.categories)}

    @classmethod
    def learnt(cls, name: str, cells: Iterable[str | None], *, limit: int) -> Self:
        """The most frequent texts first; equally frequent ones in the order of their text."""
        counts = Counter(cells)
        missing = counts.pop(None, 0)
        ranked = sorted(counts, key=lambda text: (-counts[text], text))
        return cls(
            name=name, categories=ranked[:limit], has_other=len(ranked) > limit, has_missing=missing > 0
        )

    @property
    def features(self) -> list[str]:
        names = [f"{self.name}={text}" for text in self.categories]
        names += [f"{self.name} (other)"] if self.has_other else []
        return names + ([f"{self.name} (missing)"] if self.has_missing else [])

    def place(self, text: str | None) -> int:
        """The column that is 1, or -1 for none."""
        if text is None:
            return len(self.categories) + self.has_other if self.has_missing else -1
        return self.places.get(text, len(self.categories) if self.has_other else -1)

    def fill(self, cells: Cells, into: Floats) -> None:
        into[:] = 0.0
        known = {text: self.place(text) for text in set(cells.tolist())}
        places = np.fromiter((known[text] for text in cells), dtype=np.intp, count=len(cells))
        rows = np.flatnonzero(places >= 0)
        into[rows, places[rows]] = 1.0

    def write(self, value: Value, row: list[float], at: int) -> None:
        place = self.place(value)  # type: ignore[arg-type]  # the contract's checker lets only text and null in here
        if place >= 0:
            row[at + place] = 1.0


class MomentPart(_Part):
    """A point in time: seconds since 1970, and hour, weekday (Monday is 0) and month (1 to 12) in UTC."""

    kind: Literal["moment"] = "moment"
    steps: list[Step]

    @classmethod
    def learnt(cls, name: str, cells: Floats, *, fills: bool, scales: bool) -> Self:
        columns = moment_columns(cells)
        return cls(name=name, steps=[Step.learnt(each, fills=fills, scales=scales) for each in columns])

    @property
    def features(self) -> list[str]:
        return [self.name, f"{self.name} (hour)", f"{self.name} (weekday)", f"{self.name} (month)"]

    def fill(self, cells: Cells, into: Floats) -> None:
        for number, (step, column) in enumerate(zip(self.steps, moment_columns(cells), strict=True)):
            into[:, number] = step.of_column(column)

    def write(self, value: Value, row: list[float], at: int) -> None:
        numbers = moment_numbers(NAN if value is None else float(value))
        for place, (step, number) in enumerate(zip(self.steps, numbers, strict=True), start=at):
            row[place] = step.of_value(number)


Part: TypeAlias = NumberPart | CategoryPart | MomentPart

_DAY_SECONDS = 86_400.0
_HOUR_SECONDS = 3_600.0


def moment_numbers(seconds: float) -> tuple[float, float, float, float]:
    if seconds != seconds:  # NaN alone differs from itself
        return NAN, NAN, NAN, NAN
    day = math.floor(seconds / _DAY_SECONDS)
    hour = math.floor((seconds - day * _DAY_SECONDS) / _HOUR_SECONDS)
    # 1970-01-01 was a Thursday.
    return seconds, float(hour), float((day + 3) % 7), float(_month(day))


def moment_columns(seconds: Floats) -> Sequence[Floats]:
    """Each distinct time is taken apart once, by the function that serving uses."""
    distinct, places = np.unique(seconds, return_inverse=True)
    numbers = np.array([moment_numbers(each) for each in distinct.tolist()], dtype=np.float64).reshape(-1, 4)
    return list(numbers[places].T)


def _month(day: int) -> int:
    """The month of a day counted from 1970-01-01, also beyond the years that datetime knows.

    Source: Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    """
    day_of_era = (day + 719_468) % 146_097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    return month_from_march + 3 if month_from_march < 10 else month_from_march - 9
