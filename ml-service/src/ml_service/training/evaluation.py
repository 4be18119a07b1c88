"""How good is a model on rows it has not seen?

Sources of the formulas: scikit-learn user guide, "Metrics and scoring"; the sums here are short enough to be
checked by hand, and give no warnings on hold-outs that miss a class.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from platform_kit.contract.artifact import Label
from platform_kit.contract.labels import label_key

Classes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


def classification_metrics(true: Classes, predicted: Classes, probabilities: Floats) -> dict[str, float]:
    """Score class numbers (n,) and probabilities (n, n_classes).

    balanced_accuracy: mean recall of the classes present; f1_macro: mean over classes present or predicted;
    log_loss: natural logarithm; roc_auc: one against the rest, averaged, left out when a class is absent.
    """
    matrix = confusion(true, predicted, probabilities.shape[1])
    hits, support, claimed = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    present, seen = support > 0, (support + claimed) > 0
    metrics = {
        "accuracy": float(hits.sum() / len(true)),
        "balanced_accuracy": float(np.mean(hits[present] / support[present])),
        "f1_macro": float(np.mean(2 * hits[seen] / (support + claimed)[seen])),
        "log_loss": log_loss(true, probabilities),
    }
    if present.all():
        metrics["roc_auc"] = roc_auc(true, probabilities)
    return metrics


def regression_metrics(true: Floats, predicted: Floats) -> dict[str, float]:
    """rmse and mae in units of the target; r2 is left out when the target does not vary."""
    errors = predicted - true
    metrics = {"rmse": float(np.sqrt(np.mean(errors**2))), "mae": float(np.mean(np.abs(errors)))}
    spread = float(np.sum((true - true.mean()) ** 2))
    if spread > 0:
        metrics["r2"] = 1.0 - float(np.sum(errors**2)) / spread
    return metrics


def confusion(true: Classes, predicted: Classes, count: int) -> npt.NDArray[np.int64]:
    """Rows are true classes, columns predicted ones."""
    matrix = np.zeros((count, count), dtype=np.int64)
    np.add.at(matrix, (true, predicted), 1)
    return matrix


def log_loss(true: Classes, probabilities: Floats) -> float:
    given = probabilities[np.arange(len(true)), true] / probabilities.sum(axis=1)
    return float(-np.mean(np.log(np.clip(given, _SMALLEST_PROBABILITY, 1.0))))


def roc_auc(true: Classes, probabilities: Floats) -> float:
    """The chance that a row of the class scores above one that is not of it; ties count half.

    Every class must be present. Binary: of the second class.
    """
    count = probabilities.shape[1]
    chosen = [1] if count == 2 else range(count)
    return float(np.mean([_auc(true == number, probabilities[:, number]) for number in chosen]))


def _auc(is_class: npt.NDArray[np.bool_], scores: Floats) -> float:
    """By the rank sum of Mann and Whitney."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    positives = int(is_class.sum())
    pairs = positives * (len(scores) - positives)
    return float((ranks[is_class].sum() - positives * (positives + 1) / 2) / pairs)


def per_class_report(matrix: npt.NDArray[np.int64], classes: Sequence[Label]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 are 0 where they would be 0/0."""
    hits, support, claimed = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return {
        label_key(label): {
            "precision": _ratio(hits[number], claimed[number]),
            "recall": _ratio(hits[number], support[number]),
            "f1": _ratio(2 * hits[number], support[number] + claimed[number]),
            "support": int(support[number]),
        }
        for number, label in enumerate(classes)
    }


def _ratio(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0


def importances(
    estimator: Any, features: Sequence[str], *, top: int = 20
) -> list[dict[str, str | float]] | None:
    """The columns that weigh most, as shares of 1; None when the estimator does not say.

    Trees: the library's own importances. Linear models: sizes of the coefficients of the (scaled) columns.
    """
    weights = getattr(estimator, "feature_importances_", None)
    if weights is None:
        coefficients = getattr(estimator, "coef_", None)
        if not isinstance(coefficients, np.ndarray):
            return None
        weights = np.abs(np.atleast_2d(coefficients)).mean(axis=0)
    shares = np.nan_to_num(np.asarray(weights, dtype=np.float64))
    if len(shares) != len(features) or shares.sum() <= 0:
        return None
    shares = shares / shares.sum()
    order = np.argsort(-shares, kind="stable")[:top]
    return [{"feature": features[place], "importance": float(shares[place])} for place in order]
