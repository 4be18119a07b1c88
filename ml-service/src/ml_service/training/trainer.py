"""Train one model: check, split, encode, fit, judge, and keep rows to prove it by."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from platform_kit.contract.algorithms import (
    SEED_ALIASES,
    Algorithm,
    Framework,
    UnknownAlgorithm,
    check_parameters,
    find_algorithm,
)
from platform_kit.contract.artifact import GoldenRow, Label, Split, Task
from platform_kit.contract.inputs import InputContract
from platform_kit.contract.jobs import TrainSpec
from platform_kit.contract.problem import Issue, IssueCode, shown
from platform_kit.contract.schema import Column
from ml_service.artifacts.labels import label_key
from ml_service.features.encoder import Encoder
from ml_service.features.input_contract import contract_of
from ml_service.features.options import options_of
from ml_service.tables.table import Table
from ml_service.training.algorithms import RECIPES, Estimator, Recipe, Setup
from ml_service.training.evaluation import (
    classification_metrics,
    confusion,
    importances,
    per_class_report,
    regression_metrics,
)
from ml_service.training.fitting import asked, caught_warnings, fit
from ml_service.training.problems import FitFailed, InvalidParameters, UnknownTraining
from ml_service.training.progress import Meter, Report
from ml_service.training.splitting import describe, split
from ml_service.training.target import Target, target_of

GOLDEN_ROWS = 16

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A fitted estimator and all that the manifest says of it.

    estimator: answers with class numbers (places in `classes`) or target values.
    """

    estimator: Estimator
    encoder: Encoder
    contract: InputContract
    target: Column
    classes: list[Label] | None
    parameters: dict[str, Any]
    seed: int
    split: Split
    metrics: dict[str, float]
    evaluation: dict[str, Any]
    golden_rows: list[GoldenRow]
    tolerance: float
    training_seconds: float
    libraries: dict[str, str]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the library says of some rows: class numbers and their probabilities, or target values and None."""

    predicted: npt.NDArray[Any]
    probabilities: Matrix | None


def train(table: Table, spec: TrainSpec, report: Report, *, threads: int | None = None) -> TrainedModel:
    """Train as `spec` asks. threads: default one for each processor that this process may use.

    Raises JobProblem: why the data or the request cannot be trained on.
    """
    began = time.monotonic()
    meter = Meter(report)
    meter.stage("checking", start=5, end=6)
    algorithm, parameters, seed = _understood(spec)
    recipe = RECIPES[algorithm.name]
    target = target_of(table, spec.target, task=spec.task)
    inputs = table.without([spec.target])
    options = options_of(spec.preprocessing, names=inputs.names)
    places = split(target.values, by_class=target.classes is not None, fraction=spec.test_fraction, seed=seed)
    train_places, test_places, method = places

    meter.stage("encoding", start=6, end=10)
    train_rows = inputs.rows(target.rows[train_places])
    test_rows = inputs.rows(target.rows[test_places])
    encoder = Encoder.fit(train_rows, needs=recipe.needs, options=options)
    setup = _setup(spec.task, parameters, seed, threads, target, train_places)
    estimator = recipe.make(setup)
    matrix = encoder.matrix(train_rows)

    meter.stage(f"fitting {algorithm.name}", start=10, end=90)
    values = target.values[train_places]
    warnings = fit(recipe, estimator, matrix, values, meter=meter, threads=setup.threads)

    meter.stage("evaluating", start=90, end=95)
    test_matrix = encoder.matrix(test_rows)
    answers = answers_of(estimator, test_matrix, task=spec.task)
    true = target.values[test_places]
    baseline = _baseline(setup, matrix, values, test_matrix)
    return TrainedModel(
        estimator=estimator,
        encoder=encoder,
        contract=contract_of(train_rows, whole=inputs.rows(target.rows), encoder=encoder),
        target=target.column,
        classes=target.classes,
        parameters=parameters,
        seed=seed,
        split=describe(train_places, test_places, method=method, fraction=spec.test_fraction, dropped=target.dropped_rows),
        metrics=_metrics(true, answers),
        evaluation=_evaluation(true, answers, target, estimator, encoder, _metrics(true, baseline), warnings),
        golden_rows=_golden_rows(test_rows, answers, encoder, target.classes),
        tolerance=recipe.tolerance,
        training_seconds=time.monotonic() - began,
        libraries=_libraries(algorithm.framework),
        warnings=warnings,
    )


def _understood(spec: TrainSpec) -> tuple[Algorithm, dict[str, Any], int]:
    """Raises UnknownTraining, InvalidParameters."""
    try:
        framework = Framework(spec.framework)
    except ValueError as error:
        raise UnknownTraining(
            f"There is no framework {shown(spec.framework)}; valid are: {', '.join(Framework)}."
        ) from error
    try:
        algorithm = find_algorithm(spec.algorithm, framework=framework, task=spec.task)
    except UnknownAlgorithm as error:
        raise UnknownTraining(str(error)) from error
    values, seed, issues = check_parameters(algorithm, spec.parameters)
    if spec.task is Task.REGRESSION and values.get("class_weight") is not None:
        issues.append(_weights_without_classes(values["class_weight"]))
    if issues:
        wrong = ", ".join(dict.fromkeys(each.field or each.pointer for each in issues))
        raise InvalidParameters(f"Please mend the parameters {wrong} of {algorithm.name}.", errors=issues)
    names_seed = any(alias in spec.parameters for alias in SEED_ALIASES)
    return algorithm, values, seed if names_seed else spec.seed


def _weights_without_classes(value: object) -> Issue:
    return Issue(
        pointer="/parameters/class_weight", field="class_weight", code=IssueCode.UNKNOWN_VALUE, got=shown(value),
        expected="null", hint="class weights are for classification",
    )  # fmt: skip


def _setup(
    task: Task, parameters: Mapping[str, Any], seed: int, threads: int | None, target: Target, train_places: Any
) -> Setup:
    smallest = 0 if target.classes is None else int(np.bincount(target.values[train_places]).min())
    count = threads or len(os.sched_getaffinity(0))
    return Setup(task=task, parameters=parameters, seed=seed, threads=count, smallest_class=smallest)


def answers_of(estimator: Estimator, matrix: Matrix, *, task: Task) -> Answers:
    """The training library's own predictions. Raises FitFailed when they are not finite."""
    with caught_warnings():
        predicted = np.asarray(asked(lambda: estimator.predict(matrix)))
        if task is Task.REGRESSION:
            answers = Answers(predicted.astype(np.float64), None)
        else:
            probabilities = np.asarray(asked(lambda: estimator.predict_proba(matrix)), dtype=np.float64)
            answers = Answers(predicted.astype(np.int64), probabilities)
    checked = answers.predicted if answers.probabilities is None else answers.probabilities
    if not np.isfinite(checked).all():
        raise FitFailed("The fit diverged: some predictions are not finite. Scale the columns or use milder parameters.")
    return answers


def _baseline(setup: Setup, matrix: Matrix, values: npt.NDArray[Any], test_matrix: Matrix) -> Answers:
    dummy = RECIPES["dummy"].make(setup).fit(matrix, values)
    return answers_of(dummy, test_matrix, task=setup.task)


def _metrics(true: npt.NDArray[Any], answers: Answers) -> dict[str, float]:
    if answers.probabilities is None:
        return regression_metrics(true, answers.predicted)
    return classification_metrics(true, answers.predicted, answers.probabilities)


def _evaluation(
    true: npt.NDArray[Any],
    answers: Answers,
    target: Target,
    estimator: Estimator,
    encoder: Encoder,
    baseline: dict[str, float],
    warnings: list[str],
) -> dict[str, Any]:
    """What a person reads beside the metrics; none of it decides an answer."""
    body: dict[str, Any] = {"baseline": {"algorithm": "dummy", "metrics": baseline}, "warnings": warnings}
    if target.classes is not None:
        matrix = confusion(true, answers.predicted, len(target.classes))
        body["confusion_matrix"] = {"labels": target.classes, "rows_are": "true classes", "counts": matrix.tolist()}
        body["per_class"] = per_class_report(matrix, target.classes)
    body["feature_importances"] = importances(estimator, encoder.features)
    return body


def _golden_rows(
    rows: Table, answers: Answers, encoder: Encoder, classes: list[Label] | None
) -> list[GoldenRow]:
    golden = []
    for position in range(min(GOLDEN_ROWS, rows.row_count)):
        full = rows.json_row(position)
        given = {name: full[name] for name in encoder.names}
        golden.append(_golden(given, position, answers, classes))
    return golden


def _golden(given: dict[str, Any], position: int, answers: Answers, classes: list[Label] | None) -> GoldenRow:
    if classes is None or answers.probabilities is None:
        return GoldenRow(input=given, prediction=float(answers.predicted[position]))
    shares = answers.probabilities[position].tolist()
    return GoldenRow(
        input=given,
        prediction=classes[int(answers.predicted[position])],
        probabilities={label_key(label): share for label, share in zip(classes, shares, strict=True)},
    )


_DISTRIBUTIONS = {
    Framework.SCIKIT_LEARN: ("scikit-learn", "skops"),
    Framework.XGBOOST: ("xgboost",),
    Framework.LIGHTGBM: ("lightgbm",),
}


def _libraries(framework: Framework) -> dict[str, str]:
    """What took part, with versions. XGBoost is installed under several names, so the module is asked."""
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    for name in _DISTRIBUTIONS[framework]:
        versions[name] = _xgboost_version() if name == "xgboost" else importlib.metadata.version(name)
    return versions


def _xgboost_version() -> str:
    import xgboost

    return str(xgboost.__version__)
