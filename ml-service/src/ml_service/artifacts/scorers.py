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


class LightgbmScorer:
    def __init__(self, booster: Any, task: Task) -> None:
        self.booster, self._task = booster, task
        self.feature_count: int | None = int(booster.num_feature())

    def scores(self, matrix: Floats) -> Floats:
        answer: Floats = self.booster.predict(matrix, num_threads=1)
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


class LinearScorer:
    """Linear and logistic regression without scikit-learn's checks, which take longer than the sum itself.

    Each row is summed up alone: BLAS would answer differently, in the last bit, for one row and for many.
    """

    def __init__(self, estimator: Any, task: Task) -> None:
        """coefficients: (n_scores, n_features); two classes have one score, which is that of the second."""
        from scipy.special import expit

        self._task, self._expit = task, expit
        self.coefficients: Floats = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
        self.intercepts: Floats = np.broadcast_to(
            np.asarray(estimator.intercept_, dtype=np.float64).ravel(), len(self.coefficients)
        )
        self.feature_count: int | None = self.coefficients.shape[1]

    def margins(self, matrix: Floats) -> Floats:
        """The scores before they become probabilities: (n_rows, n_scores)."""
        rows = np.ascontiguousarray(matrix)
        margins = np.empty((len(rows), len(self.coefficients)))
        for number, (weights, intercept) in enumerate(zip(self.coefficients, self.intercepts, strict=True)):
            margins[:, number] = (rows * weights).sum(axis=1) + intercept
        return margins

    def scores(self, matrix: Floats) -> Floats:
        """Source: scikit-learn 1.9, LogisticRegression.predict_proba and sklearn.utils.extmath.softmax."""
        margins = self.margins(matrix)
        if self._task is Task.REGRESSION:
            return margins[:, 0]
        if margins.shape[1] == 1:
            second = self._expit(margins[:, 0])
            return np.stack([1 - second, second], axis=1)
        shares = np.exp(margins - margins.max(axis=1, keepdims=True))
        answer: Floats = shares / shares.sum(axis=1, keepdims=True)
        return answer

    def winners(self, matrix: Floats, scores: Floats) -> ClassNumbers:
        """By the margins, as the library decides: probabilities can be equal where these are not."""
        margins = self.margins(matrix)
        if margins.shape[1] == 1:
            return (margins[:, 0] > 0).astype(np.intp)
        return likeliest(margins)
