"""Train one model: check, split, encode, fit, judge, and keep rows to prove it by."""

import importlib.metadata
import os
import platform
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_service.features.encoder import Encoder
from ml_service.features.input_contract import contract_of
from ml_service.features.options import options_of
from ml_service.tables.table import Table
from ml_service.training.algorithms import RECIPES, Estimator, Setup
from ml_service.training.evaluation import importances
from ml_service.training.fitting import Matrix, fit
from ml_service.training.judging import Answers, answers_of, class_report, golden_rows, metrics_of
from ml_service.training.progress import Meter, Report
from ml_service.training.request import Request, understood
from ml_service.training.splitting import split
from ml_service.training.target import Target, target_of
from platform_kit.contract.algorithms import Framework
from platform_kit.contract.artifact import GoldenRow, Label, Split
from platform_kit.contract.inputs import InputContract
from platform_kit.contract.jobs import TrainSpec
from platform_kit.contract.schema import Column


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
    feature_means: list[float]
    training_seconds: float
    libraries: dict[str, str]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class _Data:
    """inputs: all rows with a target, without it; train and test: what the split made of them."""

    inputs: Table
    train: Table
    train_values: npt.NDArray[Any]
    test: Table
    test_values: npt.NDArray[Any]
    split: Split


def train(table: Table, spec: TrainSpec, report: Report, *, threads: int | None = None) -> TrainedModel:
    """Train as `spec` asks. threads: default one for each processor that this process may use.

    Raises JobProblem: why the data or the request cannot be trained on.
    """
    began = time.monotonic()
    meter = Meter(report)
    meter.stage("checking", start=5, end=6)
    request = understood(spec)
    target = target_of(table, spec.target, task=spec.task)
    options = options_of(spec.preprocessing, names=[name for name in table.names if name != spec.target])

    meter.stage("encoding", start=6, end=10)
    data = _divided(table, spec, target, seed=request.seed)
    encoder = Encoder.fit(data.train, needs=request.recipe.needs, options=options)
    matrix = encoder.matrix(data.train)
    setup = _setup(spec, request, data, threads)
    estimator = request.recipe.make(setup)

    meter.stage(f"fitting {request.algorithm.name}", start=10, end=90)
    warnings = fit(request.recipe, estimator, matrix, data.train_values, meter=meter, threads=setup.threads)

    meter.stage("evaluating", start=90, end=95)
    test_matrix = encoder.matrix(data.test)
    answers = answers_of(estimator, test_matrix, task=spec.task)
    baseline = _baseline(setup, matrix, data, test_matrix)
    evaluation: dict[str, Any] = {
        "baseline": {"algorithm": "dummy", "metrics": metrics_of(data.test_values, baseline)},
        "feature_importances": importances(estimator, encoder.features),
        "threads": setup.threads,
        "warnings": warnings,
    }
    if target.classes is not None:
        evaluation |= class_report(data.test_values, answers, target.classes)
    return TrainedModel(
        estimator=estimator,
        encoder=encoder,
        contract=contract_of(data.train, whole=data.inputs, encoder=encoder),
        target=target.column,
        classes=target.classes,
        parameters=request.parameters,
        seed=request.seed,
        split=data.split,
        metrics=metrics_of(data.test_values, answers),
        evaluation=evaluation,
        golden_rows=golden_rows(data.test, answers, names=encoder.names, classes=target.classes),
        tolerance=request.recipe.tolerance,
        feature_means=_means(matrix),
        training_seconds=time.monotonic() - began,
        libraries=_libraries(request.algorithm.framework),
        warnings=warnings,
    )


def _divided(table: Table, spec: TrainSpec, target: Target, *, seed: int) -> _Data:
    inputs = table.without([spec.target]).rows(target.rows)
    train, test, method = split(
        target.values, by_class=target.classes is not None, fraction=spec.test_fraction, seed=seed
    )
    described = Split(
        method=method,
        test_fraction=spec.test_fraction,
        train_rows=len(train),
        test_rows=len(test),
        dropped_rows=target.dropped_rows,
    )
    return _Data(
        inputs, inputs.rows(train), target.values[train], inputs.rows(test), target.values[test], described
    )


def _means(matrix: Matrix) -> list[float]:
    """Of each column over the rows that have a value; 0 where none has."""
    known = ~np.isnan(matrix)
    counts = np.maximum(known.sum(axis=0), 1)
    means: list[float] = (np.where(known, matrix, 0.0).sum(axis=0) / counts).tolist()
    return means


def _setup(spec: TrainSpec, request: Request, data: _Data, threads: int | None) -> Setup:
    is_regression = data.train_values.dtype == np.float64
    return Setup(
        task=spec.task,
        parameters=request.parameters,
        seed=request.seed,
        threads=threads or len(os.sched_getaffinity(0)),
        smallest_class=0 if is_regression else int(np.bincount(data.train_values).min()),
    )


def _baseline(setup: Setup, matrix: Matrix, data: _Data, test_matrix: Matrix) -> Answers:
    dummy = RECIPES["dummy"].make(setup).fit(matrix, data.train_values)
    return answers_of(dummy, test_matrix, task=setup.task)


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
