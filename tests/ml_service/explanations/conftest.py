"""Each model is trained once for all tests that ask about it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pytest

from ml_service.artifacts.model_files import write
from ml_service.artifacts.predictor import Predictor
from ml_service.artifacts.scorers import Floats
from ml_service.explanations.explainer import Explainer
from ml_service.tables.table import Table
from ml_service.training.manifest import manifest_of
from ml_service.training.trainer import train
from platform_kit.contract.algorithms import Framework
from platform_kit.contract.artifact import Manifest, Task
from platform_kit.contract.inputs import RowChecker, Value
from platform_kit.contract.prediction import Explanation
from tests.ml_service.factories import ignore, people, spec, table_from

ROWS = 1000
UNUSED = "constant"
"""A column that holds one number in training."""


@dataclass(frozen=True)
class Trained:
    """estimator: the training library's own; manifest and predictor: as serving has them."""

    estimator: Any
    manifest: Manifest
    predictor: Predictor
    table: Table

    def rows(self, count: int = ROWS) -> list[list[Value]]:
        """Rows of the data set by the road of a request."""
        checker = RowChecker(self.manifest.contract)
        bodies = [json.loads(json.dumps(self.table.json_row(place))) for place in range(count)]
        names = self.manifest.contract.names
        checked = [checker.check({name: body[name] for name in names}, pointer=()) for body in bodies]
        assert [each.errors for each in checked if each.errors] == []
        return [each.values for each in checked]

    def explained(self, rows: list[list[Value]], **options: Any) -> list[Explanation]:
        return Explainer(self.manifest, self.predictor).explain(rows, self.matrix(rows), **options)

    def matrix(self, rows: list[list[Value]]) -> Floats:
        return self.predictor.encode(rows)


Training: TypeAlias = Callable[..., Trained]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Ask with an algorithm, and the target that decides the task: `bought`, `level`, `spent` or `balance`."""
    table = table_from(_frame(), tmp_path_factory.mktemp("people"))

    @cache
    def training(algorithm: str, target: str, parameters: str = "") -> Trained:
        """parameters: as JSON; without, few rounds."""
        given = {"parameters": json.loads(parameters)} if parameters else {}
        task = Task.REGRESSION if target in ("spent", "balance") else Task.CLASSIFICATION
        others = [name for name in ("bought", "level", "spent", "balance") if name != target]
        asked = spec(algorithm, task=task, target=target, preprocessing={"exclude": others}, **given)
        return _stored(table, asked, tmp_path_factory.mktemp(algorithm))

    return training


def _stored(table: Table, asked: Any, directory: Path) -> Trained:
    model = train(table, asked, ignore, threads=2)
    files = write(model.estimator, Framework(asked.framework), directory)
    text = manifest_of(model, asked, files=files).model_dump_json()
    manifest = Manifest.model_validate_json(text)
    return Trained(model.estimator, manifest, Predictor(manifest, directory), table)


def _frame() -> pd.DataFrame:
    """`people`, with a column that no model can use, and a target whose values near 0 are left of large parts."""
    frame = people(ROWS)
    frame.insert(2, UNUSED, 5.0)
    spent = frame["spent"]
    frame["balance"] = ((spent - spent.mean()) / spent.std() * 5_000 + 10_000).round(2)
    frame.loc[frame.index % 50 == 0, "balance"] = np.linspace(-1, 1, ROWS // 50)
    return frame
