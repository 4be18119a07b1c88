"""Small data sets and job specs for the tests of tables, features, training and artifacts."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml_service.tables.reading import read
from ml_service.tables.table import Table
from platform_kit.contract.algorithms import ALGORITHMS
from platform_kit.contract.artifact import Task
from platform_kit.contract.jobs import DatasetRef, Progress, TrainSpec
from platform_kit.contract.schema import FileType


def people(rows: int = 300, *, seed: int = 7) -> pd.DataFrame:
    """Every column type, missing values in four columns, and three targets: `bought`, `level` and `spent`."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 90, rows),
            "income": random.normal(3000.0, 800.0, rows).round(2),
            "city": random.choice(["Bonn", "Köln", "Ulm", "Jena"], rows, p=[0.5, 0.3, 0.15, 0.05]),
            "member": random.random(rows) < 0.4,
            "since": pd.Timestamp("2015-03-01") + pd.to_timedelta(random.integers(0, 10**8, rows), unit="s"),
        }
    )
    signal = frame["age"] / 20 + (frame["city"] == "Bonn") * 1.5 + random.normal(0, 0.7, rows)
    frame["bought"] = np.where(signal > 3, "yes", "no")
    frame["level"] = pd.cut(signal, [-np.inf, 2, 4, np.inf], labels=False)
    frame["spent"] = (signal * 10 + frame["income"] / 100).round(3)
    frame["since"] = frame["since"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    frame["member"] = frame["member"].map({True: "true", False: "false"})
    for column, step in (("income", 7), ("city", 9), ("member", 11), ("since", 13)):
        frame.loc[frame.index % step == 1, column] = None
    return frame


TARGETS = ("bought", "level", "spent")


def table_from(frame: pd.DataFrame, directory: Path) -> Table:
    path = directory / f"{uuid.uuid4()}.csv"
    frame.to_csv(path, index=False)
    return read(path, FileType.CSV)


def people_table(directory: Path, rows: int = 300) -> Table:
    return table_from(people(rows), directory)


def spec(algorithm: str = "random_forest", **facts: Any) -> TrainSpec:
    """A training on `people`: of `bought`, or of `spent` when the algorithm knows regression alone."""
    framework = next((each.framework for each in ALGORITHMS if each.name == algorithm), "scikit-learn")
    tasks = next((each.tasks for each in ALGORITHMS if each.name == algorithm), [Task.CLASSIFICATION])
    task = facts.pop("task", tasks[0])
    target = facts.pop("target", "bought" if task is Task.CLASSIFICATION else "spent")
    others = [name for name in TARGETS if name != target]
    return TrainSpec(
        model_id=uuid.UUID(int=1),
        dataset=DatasetRef(
            dataset_id=uuid.UUID(int=2),
            version=1,
            key="k",
            sha256="0" * 64,
            size_bytes=1,
            file_type=FileType.CSV,
        ),
        task=task,
        framework=facts.pop("framework", framework),
        algorithm=algorithm,
        parameters=facts.pop("parameters", FEW_ROUNDS.get(algorithm, {})),
        target=target,
        preprocessing=facts.pop("preprocessing", {"exclude": others}),
        **facts,
    )


FEW_ROUNDS = {
    "random_forest": {"n_estimators": 25},
    "extra_trees": {"n_estimators": 25},
    "hist_gradient_boosting": {"max_iter": 25},
    "xgboost": {"n_estimators": 30},
    "lightgbm": {"n_estimators": 30},
    "svm": {"kernel": "linear"},
}
"""Parameters that make a training short."""


def ignore(_progress: Progress) -> None:
    """For trainings whose progress does not matter."""
