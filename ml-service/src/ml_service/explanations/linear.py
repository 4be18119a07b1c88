"""Linear models: a coefficient times how far the row is from the training mean.

Source: Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", corollary 1 (independent columns).
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ml_service.artifacts.scorers import ClassNumbers, Floats, LinearScorer
from ml_service.explanations.attribution import Attribution, margin_scale, of_class, summed, without_noise
from platform_kit.contract.artifact import Task
from platform_kit.contract.prediction import ExplanationMethod

NO_MEANS = (
    "This version was trained before training means were kept: its contributions compare with a row of zeros, "
    "as the model reads it, and not with the mean of the training rows. Train it again for the latter."
)


class LinearMethod:
    name: ClassVar[ExplanationMethod] = ExplanationMethod.LINEAR
    is_exact: ClassVar[bool] = True

    def __init__(
        self, scorer: LinearScorer, task: Task, *, means: Sequence[float] | None, blocks: Sequence[slice]
    ) -> None:
        """means: of the matrix's columns over the training rows; None where nobody kept them."""
        self._scorer, self._blocks = scorer, blocks
        self.scale = margin_scale(task)
        self._note = NO_MEANS if means is None else None
        count = scorer.coefficients.shape[1]
        self._means = np.zeros(count) if means is None else np.asarray(means, dtype=np.float64)
        self._bases = scorer.margins(self._means.reshape(1, -1))[0]

    def attributions(self, matrix: Floats, explained: ClassNumbers | None) -> list[Attribution]:
        margins = self._scorer.margins(matrix)
        return [
            self._attribution(row, margins[number], None if explained is None else int(explained[number]))
            for number, row in enumerate(matrix)
        ]

    def _attribution(self, row: Floats, margins: Floats, explained: int | None) -> Attribution:
        shares = of_class(self._scorer.coefficients, explained) * (row - self._means)
        base, raw = (float(of_class(each, explained)) for each in (self._bases, margins))
        parts = without_noise(summed(shares, self._blocks), base=base, raw=raw)
        return Attribution(base, parts, raw, self._note)
