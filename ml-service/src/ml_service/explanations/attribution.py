"""What every method of explaining gives, before it is put into words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from ml_service.artifacts.scorers import ClassNumbers, Floats
from platform_kit.contract.artifact import Task
from platform_kit.contract.prediction import ExplanationMethod, Scale

NOISE = 1e-12
"""Smaller parts, as a share of the largest number beside them, are roundings: the model does not use the column."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """One score of one row: `base` plus all contributions is `raw`.

    contributions: of each input column, in the order of the input contract.
    note: how far they can be trusted, where that needs saying.
    """

    base: float
    contributions: list[float]
    raw: float
    note: str | None = None


class Method(Protocol):
    """Thread-safe; holds no state of a request. A row's attribution does not depend on the rows beside it."""

    name: ClassVar[ExplanationMethod]
    is_exact: ClassVar[bool]
    scale: Scale

    def attributions(self, matrix: Floats, explained: ClassNumbers | None) -> list[Attribution]:
        """Explain encoded rows. explained: each row's class; None for regression. Raises NotExplainable."""


def margin_scale(task: Task) -> Scale:
    """Of what a model adds up before that becomes a probability."""
    return Scale.TARGET if task is Task.REGRESSION else Scale.LOG_ODDS


def summed(shares: Floats, blocks: Sequence[slice]) -> list[float]:
    """From the columns of a matrix back to the input columns that were encoded as these. shares: (n_features,)"""
    return [float(shares[block].sum()) for block in blocks]


def of_class(scores: Floats, explained: int | None) -> Floats:
    """Pick the scores of one class. scores: (n_classes, ...); two classes have one row, which is the second's."""
    chosen: Floats = scores[0 if explained is None or len(scores) == 1 else explained]
    return -chosen if explained == 0 and len(scores) == 1 else chosen


def without_noise(contributions: Sequence[float], *, base: float, raw: float) -> list[float]:
    """Make 0 what is nothing but a rounding; the largest contribution takes it, so that the sum stays."""
    parts = np.array(contributions, dtype=np.float64)
    sizes = np.abs(parts)
    is_noise = sizes <= NOISE * max(abs(base), abs(raw), float(sizes.max()))
    parts[sizes.argmax()] += parts[is_noise].sum()
    parts[is_noise] = 0.0
    found: list[float] = parts.tolist()
    return found
