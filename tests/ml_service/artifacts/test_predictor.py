"""The promise of the platform: a deployed model answers what its training library answers."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from ml_service.artifacts.model_files import load, write
from ml_service.artifacts.predictor import Predictor
from ml_service.artifacts.problems import CorruptArtifact
from ml_service.artifacts.skops_file import read_skops, write_skops
from ml_service.tables.table import Table
from ml_service.training.manifest import manifest_of
from ml_service.training.trainer import TrainedModel, train
from platform_kit.contract.algorithms import ALGORITHMS, Framework
from platform_kit.contract.artifact import Manifest, Task
from platform_kit.contract.inputs import RowChecker
from platform_kit.contract.jobs import TrainSpec
from tests.ml_service.factories import ignore, people_table, spec, table_from

EVERY_TRAINING = [
    pytest.param(each.name, task, target, id=f"{each.name}-{target}")
    for each in ALGORITHMS
    for task in each.tasks
    for target in (["bought", "level"] if task is Task.CLASSIFICATION else ["spent"])
]


def stored(table: Table, asked: TrainSpec, directory: Path) -> tuple[TrainedModel, Manifest]:
    """Train, write the files, and take the manifest through its own JSON as the registry does."""
    directory.mkdir(exist_ok=True)
    model = train(table, asked, ignore, threads=2)
    files = write(model.estimator, Framework(asked.framework), directory)
    manifest = manifest_of(model, asked, files=files)
    return model, Manifest.model_validate_json(manifest.model_dump_json())


def as_requests(table: Table, manifest: Manifest) -> list[list[Any]]:
    """Every row of a table by the road of a request: JSON text, then the contract's checker."""
    checker = RowChecker(manifest.contract)
    rows = []
    for position in range(table.row_count):
        body = json.loads(json.dumps(table.json_row(position)))
        checked = checker.check({name: body[name] for name in manifest.contract.names}, pointer=[])
        assert checked.errors == []
        rows.append(checked.values)
    return rows


def library_answers(model: TrainedModel, table: Table) -> tuple[list[Any], np.ndarray[Any, Any] | None]:
    """Labels or values, and probabilities, by the estimator that was fitted and its own methods."""
    matrix = model.encoder.matrix(table)
    predicted = model.estimator.predict(matrix)
    if model.classes is None:
        return predicted.tolist(), None
    return [model.classes[number] for number in predicted], model.estimator.predict_proba(matrix)


class TestParity:
    @pytest.mark.parametrize(("algorithm", "task", "target"), EVERY_TRAINING)
    @pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
    def test_row_by_row_equal_to_the_training_library(
        self, tmp_path: Path, algorithm: str, task: Task, target: str
    ) -> None:
        table = people_table(tmp_path)
        model, manifest = stored(table, spec(algorithm, task=task, target=target), tmp_path)
        predictor = Predictor(manifest, tmp_path)
        rows = as_requests(table, manifest)

        together = predictor.predict(rows)
        alone = [predictor.predict([row])[0] for row in rows[:40]]

        labels, shares = library_answers(model, table)
        for answers in (together, alone):
            for number, (label, probabilities) in enumerate(answers):
                if task is Task.REGRESSION:
                    limit = manifest.tolerance * max(1.0, abs(labels[number]))
                    assert abs(float(label) - labels[number]) <= limit
                    assert probabilities is None
                    continue
                assert (label, type(label)) == (labels[number], type(labels[number]))
                assert shares is not None
                assert list((probabilities or {}).values()) == pytest.approx(
                    shares[number].tolist(), abs=manifest.tolerance, rel=0
                )

    @pytest.mark.parametrize("algorithm", ["random_forest", "xgboost", "lightgbm"])
    def test_golden_rows_are_answered_as_in_training(self, tmp_path: Path, algorithm: str) -> None:
        table = people_table(tmp_path)
        _, manifest = stored(table, spec(algorithm, target="level"), tmp_path)
        checker = RowChecker(manifest.contract)

        answers = Predictor(manifest, tmp_path).predict(
            [checker.check(row.input, pointer=[]).values for row in manifest.golden_rows]
        )

        assert answers == [(row.prediction, row.probabilities) for row in manifest.golden_rows]

    @pytest.mark.parametrize(
        ("cells", "keys"),
        [
            (["true", "false"], {"true": True, "false": False}),
            (["1.0", "2.0"], {"1.0": 1.0, "2.0": 2.0}),
            (["7", "8"], {"7": 7, "8": 8}),
        ],
    )
    def test_labels_keep_their_type_through_the_stored_manifest(
        self, tmp_path: Path, cells: list[str], keys: dict[str, Any]
    ) -> None:
        frame = pd.DataFrame({"x": range(40), "y": cells * 20})
        asked = spec("lightgbm", target="y", preprocessing={})
        _, manifest = stored(table_from(frame, tmp_path), asked, tmp_path)

        label, shares = Predictor(manifest, tmp_path).predict([[3.0]])[0]

        assert list(shares or {}) == sorted(keys)
        likeliest = max(shares or {}, key=lambda key: (shares or {})[key])
        assert (label, type(label)) == (keys[likeliest], type(keys[likeliest]))

    @pytest.mark.parametrize(
        "algorithm", ["random_forest", "hist_gradient_boosting", "knn", "xgboost", "lightgbm"]
    )
    def test_several_threads_may_ask_at_once(self, tmp_path: Path, algorithm: str) -> None:
        table = people_table(tmp_path)
        _, manifest = stored(table, spec(algorithm), tmp_path)
        predictor, rows = Predictor(manifest, tmp_path), as_requests(table, manifest)
        expected = predictor.predict(rows)

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda row: predictor.predict([row])[0], rows))

        assert answers == expected

    @pytest.mark.parametrize("algorithm", [each.name for each in ALGORITHMS])
    def test_any_finite_number_and_unseen_text_are_answered(self, tmp_path: Path, algorithm: str) -> None:
        task = next(each.tasks for each in ALGORITHMS if each.name == algorithm)[-1]
        _, manifest = stored(people_table(tmp_path), spec(algorithm, task=task), tmp_path)
        checker = RowChecker(manifest.contract)
        rows = [
            checker.check(
                {
                    "age": 10**300 * sign,
                    "income": 1.7e308 * sign,
                    "city": "Atlantis",
                    "member": None,
                    "since": when,
                },
                pointer=[],
            )
            for sign, when in ((1, "9999-12-31T23:59:59Z"), (-1, "0001-01-01"))
        ]

        answers = Predictor(manifest, tmp_path).predict([each.values for each in rows])

        assert [each.errors for each in rows] == [[], []]
        assert all(
            np.isfinite(list(shares.values()) if shares else [float(label)]).all()
            for label, shares in answers
        )

    def test_a_tie_is_decided_as_the_library_does(self, tmp_path: Path) -> None:
        """A linear score that is a rounding error above zero: both classes have the probability 0.5."""
        model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
        model.coef_, model.intercept_ = np.array([[1e-18]]), np.array([0.0])
        write_skops(model, tmp_path / "model.skops")
        matrix = np.array([[1.0], [-1.0]])
        assert model.predict_proba(matrix).tolist() == [[0.5, 0.5]] * 2

        manifest = stored(people_table(tmp_path), spec("dummy"), tmp_path / "other")[1]
        scorer = load(manifest, tmp_path)

        assert (
            scorer.winners(matrix, scorer.scores(matrix)).tolist() == model.predict(matrix).tolist() == [1, 0]
        )


class TestDigest:
    @pytest.mark.parametrize("algorithm", [each.name for each in ALGORITHMS if each.name != "dummy"])
    def test_equal_trainings_have_equal_digests_and_the_seed_changes_it(
        self, tmp_path: Path, algorithm: str
    ) -> None:
        table = people_table(tmp_path)
        task = next(each.tasks for each in ALGORITHMS if each.name == algorithm)[0]
        one, same, other = (
            stored(table, spec(algorithm, task=task, seed=seed), tmp_path / folder)[1]
            for seed, folder in ((1, "one"), (1, "same"), (2, "other"))
        )

        assert one.files == same.files
        assert one.digest() == same.digest() != other.digest()


class TestCorruption:
    @pytest.mark.parametrize("algorithm", ["random_forest", "xgboost", "lightgbm"])
    def test_a_file_that_is_not_a_model_is_refused(self, tmp_path: Path, algorithm: str) -> None:
        _, manifest = stored(people_table(tmp_path, 60), spec(algorithm), tmp_path)
        path = tmp_path / manifest.files[0].name

        path.write_bytes(b"tree of nothing")
        with pytest.raises(CorruptArtifact):
            Predictor(manifest, tmp_path)
        path.unlink()
        with pytest.raises(CorruptArtifact, match="missing"):
            Predictor(manifest, tmp_path)

    def test_an_encoder_of_a_later_version_is_refused(self, tmp_path: Path) -> None:
        _, manifest = stored(people_table(tmp_path, 60), spec("dummy"), tmp_path)
        later = manifest.model_copy(update={"encoder": {**manifest.encoder, "format": 99}})

        with pytest.raises(CorruptArtifact, match="encoder"):
            Predictor(later, tmp_path)

    def test_a_model_of_other_columns_is_refused(self, tmp_path: Path) -> None:
        table = people_table(tmp_path, 60)
        _, manifest = stored(table, spec("xgboost"), tmp_path)
        stored(table, spec("xgboost", preprocessing={"exclude": ["age"]}), tmp_path)

        with pytest.raises(CorruptArtifact, match="columns"):
            Predictor(manifest, tmp_path)

    def test_skops_types_that_are_not_on_the_list_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "model.skops"
        write_skops(FunctionTransformer(func=spec), path)

        with pytest.raises(CorruptArtifact, match="does not load"):
            read_skops(path)


def test_predicting_imports_no_pandas_of_ours() -> None:
    """The libraries may bring it along when a model is loaded; the encoder and the predictor do without."""
    script = "import sys, ml_service.artifacts.predictor; raise SystemExit('pandas' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
