"""Any other model: Shapley values from random orders of the columns.

A chain goes from a held-out row to the row in question, one column after the other; how far each step moves the
score is that column's part. Every order is also walked backwards, which cancels much of the chance.
Source: Strumbelj and Kononenko, "Explaining prediction models and individual predictions with feature
contributions", 2014; Mitchell et al., "Sampling Permutations for Shapley Value Estimation", 2022 (antithetic pairs).
"""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ml_service.artifacts.scorers import ClassNumbers, Floats, Scorer
from ml_service.explanations.attribution import Attribution, without_noise
from ml_service.explanations.problems import NotExplainable
from platform_kit.contract.artifact import Task
from platform_kit.contract.prediction import ExplanationMethod, Scale

ROWS_ASKED = 2_500
"""About how many rows the model answers for one explanation."""
MOST_PAIRS = 256
"""Orders of the columns, each walked both ways: a model of few columns needs no more."""
MOST_COLUMNS = 500
"""With more, one explanation would keep the model busy for seconds."""
CELLS_AT_ONCE = 1_000_000
SEED = 0

Orders = npt.NDArray[np.intp]


class SampledMethod:
    name: ClassVar[ExplanationMethod] = ExplanationMethod.SAMPLED_SHAPLEY
    is_exact: ClassVar[bool] = False

    def __init__(self, scorer: Scorer, task: Task, *, background: Floats, blocks: Sequence[slice]) -> None:
        """background: encoded held-out rows. Raises NotExplainable."""
        if len(background) == 0:
            raise NotExplainable(
                "This version keeps no held-out rows, and its algorithm is explained by comparing with such rows."
            )
        if len(blocks) > MOST_COLUMNS:
            raise NotExplainable(
                f"This model reads {len(blocks)} columns; its algorithm is explained up to {MOST_COLUMNS}."
            )
        self._scorer, self._background, self._blocks = scorer, background, blocks
        self.scale = Scale.TARGET if task is Task.REGRESSION else Scale.PROBABILITY

    def attributions(self, matrix: Floats, explained: ClassNumbers | None) -> list[Attribution]:
        return [
            self._attribution(row, None if explained is None else int(explained[number]))
            for number, row in enumerate(matrix)
        ]

    def _attribution(self, row: Floats, explained: int | None) -> Attribution:
        """The row is asked for alone: how many others are asked with it must not change its last bits."""
        raw = float(self._scores(row.reshape(1, -1), explained)[0])
        starts = self._starts if explained is None else self._starts[:, explained]
        steps = np.array(
            [
                self._steps(row, background, orders, explained, ends=(float(start), raw))
                for background, start, orders in zip(self._background, starts, self._orders, strict=True)
            ]
        )
        if not np.isfinite(steps).all():
            raise NotExplainable(
                "The model gives no finite number for some mixtures of this row with others."
            )
        base = float(starts.mean())
        parts = without_noise(steps.mean(axis=(0, 1)).tolist(), base=base, raw=raw)
        return Attribution(base, parts, raw, self._note(steps))

    def _steps(
        self,
        row: Floats,
        background: Floats,
        orders: Orders,
        explained: int | None,
        *,
        ends: tuple[float, float],
    ) -> Floats:
        """Each column's part along each pair of chains: (n_pairs, n_columns). ends: the scores of both rows."""
        both = np.concatenate([orders, orders[:, ::-1]])
        parts = np.empty(both.shape)
        if both.shape[1] == 1:
            parts[:] = ends[1] - ends[0]
        else:
            between = self._between(row, background, both, explained)
            scores = np.column_stack([np.full(len(both), ends[0]), between, np.full(len(both), ends[1])])
            np.put_along_axis(parts, both, np.diff(scores, axis=1), axis=1)
        mean: Floats = (parts[: len(orders)] + parts[len(orders) :]) / 2
        return mean

    def _between(self, row: Floats, background: Floats, orders: Orders, explained: int | None) -> Floats:
        """The scores within the chains, without their ends: (n_chains, n_columns - 1)."""
        chains, columns = orders.shape
        places = np.empty_like(orders)
        np.put_along_axis(places, orders, np.arange(columns), axis=1)
        # Step s of a chain has the row's value in the columns whose place in the order is at most s.
        is_set = (places[:, np.newaxis, :] <= np.arange(columns - 1)[:, np.newaxis]).reshape(-1, columns)
        scores = [self._scores(mixed, explained) for mixed in self._mixed(row, background, is_set)]
        return np.concatenate(scores).reshape(chains, columns - 1)

    def _mixed(self, row: Floats, background: Floats, is_set: npt.NDArray[np.bool_]) -> Iterator[Floats]:
        """Rows with the columns that are set from `row` and the others from the background, some at a time."""
        count = max(1, CELLS_AT_ONCE // max(1, len(row)))
        for start in range(0, len(is_set), count):
            yield np.where(is_set[start : start + count][:, self._owners], row, background)

    def _scores(self, matrix: Floats, explained: int | None) -> Floats:
        scores = self._scorer.scores(matrix)
        return scores if explained is None else scores[:, explained]

    @cached_property
    def _starts(self) -> Floats:
        """The background's own scores, each asked for alone as the row is."""
        return np.concatenate([self._scorer.scores(each.reshape(1, -1)) for each in self._background])

    @cached_property
    def _owners(self) -> Orders:
        """Which input column each column of the matrix belongs to."""
        return np.repeat(np.arange(len(self._blocks)), [each.stop - each.start for each in self._blocks])

    @cached_property
    def _orders(self) -> Orders:
        """(n_background, n_pairs, n_columns), the same for every row."""
        columns, rows = len(self._blocks), len(self._background)
        pairs = max(1, min(MOST_PAIRS // rows, ROWS_ASKED // (2 * rows * max(1, columns - 1))))
        random = np.random.default_rng(SEED)
        return np.array([[random.permutation(columns) for _ in range(pairs)] for _ in range(rows)])

    def _note(self, steps: Floats) -> str:
        rows, pairs, _ = steps.shape
        # Spread between the orders of one held-out row; where it has one order, also between the rows.
        spread = steps.var(axis=1, ddof=1).mean(axis=0) if pairs > 1 else steps[:, 0].var(axis=0)
        error = 2 * math.sqrt(float(spread.max()) / (rows * pairs))
        held_out = "1 held-out row" if rows == 1 else f"{rows} held-out rows"
        return (
            f"An approximation: {2 * rows * pairs} random orders of the columns, compared with {held_out}. "
            f"Other orders would move the numbers by up to about {error:.2g}."
        )
