"""What a fitted estimator says of held-out rows, and how good that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_service.tables.table import Table
from ml_service.training.algorithms import Estimator
from ml_service.training.evaluation import (
    classification_metrics,
    confusion,
    per_class_report,
    regression_metrics,
)
from ml_service.training.fitting import Matrix, asked, caught_warnings
from ml_service.training.problems import FitFailed
from platform_kit.contract.artifact import GoldenRow, Label, Task
from platform_kit.contract.labels import label_key

GOLDEN_ROWS = 16


@dataclass(frozen=True, slots=True)
class Answers:
    """The training library's own words: class numbers and their probabilities, or target values and None."""

    predicted: npt.NDArray[Any]
    probabilities: Matrix | None


def answers_of(estimator: Estimator, matrix: Matrix, *, task: Task) -> Answers:
    """Raises FitFailed when the library refuses, or when what it predicts is not finite."""
    with caught_warnings():
        predicted = np.asarray(asked(lambda: estimator.predict(matrix)))
        if task is Task.REGRESSION:
            answers, checked = Answers(predicted.astype(np.float64), None), predicted
        else:
            checked = np.asarray(asked(lambda: estimator.predict_proba(matrix)), dtype=np.float64)
            answers = Answers(predicted.astype(np.int64), checked)
    if not np.isfinite(checked).all():
        raise FitFailed(
            "The fit diverged: some predictions are not finite. Scale the columns or use milder parameters."
        )
    return answers


def metrics_of(true: npt.NDArray[Any], answers: Answers) -> dict[str, float]:
    if answers.probabilities is None:
        return regression_metrics(true, answers.predicted)
    return classification_metrics(true, answers.predicted, answers.probabilities)


def class_report(true: npt.NDArray[Any], answers: Answers, classes: Sequence[Label]) -> dict[str, Any]:
    matrix = confusion(true, answers.predicted, len(classes))
    table = {"labels": list(classes), "rows_are": "true classes", "counts": matrix.tolist()}
    return {"confusion_matrix": table, "per_class": per_class_report(matrix, classes)}


def golden_rows(
    rows: Table, answers: Answers, *, names: Sequence[str], classes: Sequence[Label] | None
) -> list[GoldenRow]:
    """The first held-out rows, which are in random order, as JSON with what the library answered."""
    golden = []
    for position in range(min(GOLDEN_ROWS, rows.row_count)):
        full = rows.json_row(position)
        prediction, probabilities = _answer(position, answers, classes)
        given = {name: full[name] for name in names}
        golden.append(GoldenRow(input=given, prediction=prediction, probabilities=probabilities))
    return golden


def _answer(
    position: int, answers: Answers, classes: Sequence[Label] | None
) -> tuple[Label, dict[str, float] | None]:
    if classes is None or answers.probabilities is None:
        return float(answers.predicted[position]), None
    shares = answers.probabilities[position].tolist()
    keys = [label_key(label) for label in classes]
    return classes[int(answers.predicted[position])], dict(zip(keys, shares, strict=True))
