"""Boosted trees: exact TreeSHAP by the library that grew them.

Source: Lundberg et al., "From local explanations to global understanding with explainable AI for trees", 2020
(path-dependent TreeSHAP).
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ml_service.artifacts.scorers import ClassNumbers, Floats, LightgbmScorer
from ml_service.artifacts.xgboost_scorer import XgboostScorer
from ml_service.explanations.attribution import Attribution, margin_scale, of_class, summed
from ml_service.explanations.problems import NotExplainable
from platform_kit.contract.artifact import Task
from platform_kit.contract.prediction import ExplanationMethod

WORST_ROUNDING = 1e-4
"""What may be missing from the sum of XGBoost's contributions, as a share of their sizes."""


class XgboostMethod:
    name: ClassVar[ExplanationMethod] = ExplanationMethod.TREE_SHAP
    is_exact: ClassVar[bool] = True

    def __init__(self, scorer: XgboostScorer, task: Task, *, blocks: Sequence[slice]) -> None:
        self._booster, self._blocks = scorer.booster, blocks
        self.scale = margin_scale(task)

    def attributions(self, matrix: Floats, explained: ClassNumbers | None) -> list[Attribution]:
        from xgboost import DMatrix

        rows = DMatrix(matrix, nthread=1)
        raws = self._booster.predict(rows, output_margin=True, strict_shape=True, validate_features=False)
        shares = self._booster.predict(rows, pred_contribs=True, strict_shape=True, validate_features=False)
        return _attributions(settled(shares, raws), raws, explained, self._blocks)


class LightgbmMethod:
    name: ClassVar[ExplanationMethod] = ExplanationMethod.TREE_SHAP
    is_exact: ClassVar[bool] = True

    def __init__(self, scorer: LightgbmScorer, task: Task, *, blocks: Sequence[slice]) -> None:
        self._booster, self._blocks = scorer.booster, blocks
        self.scale = margin_scale(task)

    def attributions(self, matrix: Floats, explained: ClassNumbers | None) -> list[Attribution]:
        count = len(matrix)
        raws = self._booster.predict(matrix, raw_score=True, num_threads=1).reshape(count, -1)
        shares = self._booster.predict(matrix, pred_contrib=True, num_threads=1)
        return _attributions(shares.reshape(*raws.shape, -1), raws, explained, self._blocks)


def settled(shares: Floats, raws: Floats) -> Floats:
    """Make XGBoost's contributions add up to its score in float64.

    It adds up in float32: measured, 1e-6 to 3e-5 of what is added goes missing, so that a score near zero that is
    left of large contributions is missed by far. Each number takes its share of that by its size, which changes
    none by more than such a rounding, and no 0. Raises NotExplainable when more is missing than roundings can take.

    shares: (n_rows, n_scores, n_features + 1), the last one the base; raws: (n_rows, n_scores).
    """
    shares, raws = shares.astype(np.float64), raws.astype(np.float64)
    sizes = np.abs(shares).sum(axis=2)
    missing = raws - shares.sum(axis=2)
    if not (np.abs(missing) <= WORST_ROUNDING * np.maximum(sizes, np.finfo(np.float32).tiny)).all():
        raise NotExplainable(
            "XGBoost's contributions do not add up to this model's score: its trees are too deep, or its numbers "
            "too large, for the float32 that the library counts in."
        )
    scale = np.divide(missing, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    added: Floats = shares + np.abs(shares) * scale[:, :, np.newaxis]
    return added


def _attributions(
    shares: Floats, raws: Floats, explained: ClassNumbers | None, blocks: Sequence[slice]
) -> list[Attribution]:
    """shares: (n_rows, n_scores, n_features + 1), the last one the base; raws: (n_rows, n_scores)."""
    found = []
    for number, (of_row, raw) in enumerate(zip(shares, raws, strict=True)):
        label = None if explained is None else int(explained[number])
        chosen = of_class(of_row, label)
        found.append(Attribution(float(chosen[-1]), summed(chosen[:-1], blocks), float(of_class(raw, label))))
    return found
