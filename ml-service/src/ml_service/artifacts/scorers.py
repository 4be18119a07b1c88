"""Loaded models behind one small interface. Each gives exactly the numbers of its training library.

A scorer holds no state of a request and may be asked by several threads at once. It uses one thread itself;
for scikit-learn's OpenMP code the process must be started with OMP_NUM_THREADS=1.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from platform_kit.contract.artifact import Task

Floats = npt.NDArray[np.float64]
ClassNumbers = npt.NDArray[np.intp]

NEAR_TIE = 1e-9
"""Classes whose probabilities differ by less than this share may be ranked the other way by the library's
`predict`, which compares numbers from before the last roundings."""


class Scorer(Protocol):
    feature_count: int | None
    """Columns that the model reads; None when the file does not say."""

    def scores(self, matrix: Floats) -> Floats:
        """Give probabilities (n_rows, n_classes), or values (n_rows,) for regression."""

    def winners(self, matrix: Floats, scores: Floats) -> ClassNumbers:
        """Name each row's class. scores: what `scores` gave for the same matrix."""


def likeliest(scores: Floats) -> ClassNumbers:
    """The first of equals, as XGBoost, LightGBM and scikit-learn's forests decide."""
    winners: ClassNumbers = np.argmax(scores, axis=1)
    return winners


class XgboostScorer:
    def __init__(self, booster: Any, task: Task) -> None:
        self._booster, self._task = booster, task
        self.feature_count: int | None = int(booster.num_features())

    def scores(self, matrix: Floats) -> Floats:
        answer = self._booster.inplace_predict(matrix, validate_features=False)
        if self._task is Task.CLASSIFICATION and answer.ndim == 1:
            # In float32 as XGBClassifier does, and only then widened.
            answer = np.stack([np.float32(1.0) - answer, answer], axis=1)
        widened: Floats = answer.astype(np.float64)
        return widened

    def winners(self, matrix: Floats, scores: Floats) -> ClassNumbers:
        return likeliest(scores)


class LightgbmScorer:
    def __init__(self, booster: Any, task: Task) -> None:
        self._booster, self._task = booster, task
        self.feature_count: int | None = int(booster.num_feature())

    def scores(self, matrix: Floats) -> Floats:
        answer: Floats = self._booster.predict(matrix, num_threads=1)
        if self._task is Task.CLASSIFICATION and answer.ndim == 1:
            return np.stack([1.0 - answer, answer], axis=1)
        return answer

    def winners(self, matrix: Floats, scores: Floats) -> ClassNumbers:
        return likeliest(scores)


class SklearnScorer:
    """Any fitted estimator, by its own methods."""

    def __init__(self, estimator: Any, task: Task) -> None:
        self._estimator, self._task = estimator, task
        count = getattr(estimator, "n_features_in_", None)
        self.feature_count: int | None = None if count is None else int(count)

    def scores(self, matrix: Floats) -> Floats:
        if self._task is Task.CLASSIFICATION:
            return np.asarray(self._estimator.predict_proba(matrix), dtype=np.float64)
        return np.asarray(self._estimator.predict(matrix), dtype=np.float64)

    def winners(self, matrix: Floats, scores: Floats) -> ClassNumbers:
        winners = likeliest(scores)
        best = scores.max(axis=1, keepdims=True)
        tied = np.flatnonzero((scores >= best * (1 - NEAR_TIE)).sum(axis=1) > 1)
        if tied.size:
            winners[tied] = self._estimator.predict(matrix[tied])
        return winners


class ForestScorer(SklearnScorer):
    """Forests without the thread pool that scikit-learn starts for each call: the same sums in its order."""

    def __init__(self, estimator: Any, task: Task) -> None:
        super().__init__(estimator, task)
        self._trees = [each.tree_ for each in estimator.estimators_]

    def scores(self, matrix: Floats) -> Floats:
        narrow = np.ascontiguousarray(matrix, dtype=np.float32)
        total = self._trees[0].predict(narrow)
        for tree in self._trees[1:]:
            total += tree.predict(narrow)
        total /= len(self._trees)
        answer: Floats = total if self._task is Task.CLASSIFICATION else total[:, 0]
        return answer

    def winners(self, matrix: Floats, scores: Floats) -> ClassNumbers:
        return likeliest(scores)
