import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression

from ml_service.features.problems import InvalidPreprocessing, NoFeatures
from ml_service.tables.problems import JobProblem
from ml_service.training.algorithms import RECIPES
from ml_service.training.judging import answers_of
from ml_service.training.problems import (
    FitFailed,
    InvalidParameters,
    TargetHasOneClass,
    TargetIsEmpty,
    TargetIsNotAClass,
    TargetIsNotNumeric,
    TargetMissing,
    TargetTooLarge,
    TooFewRows,
    TooManyClasses,
    UnknownTraining,
)
from ml_service.training.splitting import split
from ml_service.training.target import target_of
from ml_service.training.trainer import TrainedModel, train
from platform_kit.contract.algorithms import ALGORITHMS
from platform_kit.contract.artifact import Label, Task
from platform_kit.contract.jobs import Progress, TrainSpec
from tests.ml_service.factories import ignore, people, people_table, spec, table_from


def trained(directory: Path, asked: TrainSpec, rows: int = 300) -> TrainedModel:
    return train(people_table(directory, rows), asked, ignore, threads=2)


def refused(directory: Path, frame: pd.DataFrame, **facts: Any) -> JobProblem:
    with pytest.raises(JobProblem) as caught:
        train(table_from(frame, directory), spec(**facts), ignore, threads=1)
    problem = caught.value
    assert (problem.problem.status, problem.problem.code) == (422, type(problem).code)
    return problem


class TestAlgorithms:
    def test_every_algorithm_of_the_contract_has_a_recipe(self) -> None:
        assert set(RECIPES) == {each.name for each in ALGORITHMS}

    @pytest.mark.parametrize("algorithm", [each.name for each in ALGORITHMS if each.name != "dummy"])
    def test_each_beats_the_baseline_on_each_of_its_tasks(self, tmp_path: Path, algorithm: str) -> None:
        for task in next(each.tasks for each in ALGORITHMS if each.name == algorithm):
            parameters = {"learning_rate_init": 0.01, "max_iter": 500} if algorithm == "mlp" else {}
            model = trained(tmp_path, spec(algorithm, task=task, parameters=parameters))

            baseline = model.evaluation["baseline"]["metrics"]
            score = "accuracy" if task is Task.CLASSIFICATION else "r2"
            assert model.metrics[score] > baseline[score]

    def test_metrics_have_the_contracts_names(self, tmp_path: Path) -> None:
        classes = trained(tmp_path, spec("xgboost", target="level"))
        numbers = trained(tmp_path, spec("xgboost", task=Task.REGRESSION))

        assert set(classes.metrics) == {"accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc"}
        assert set(numbers.metrics) == {"r2", "rmse", "mae"}
        assert set(classes.evaluation["per_class"]) == {"0", "1", "2"}
        assert np.sum(classes.evaluation["confusion_matrix"]["counts"]) == classes.split.test_rows
        json.dumps([classes.evaluation, numbers.evaluation], allow_nan=False)

    def test_parameters_reach_the_library(self, tmp_path: Path) -> None:
        model = trained(tmp_path, spec("lightgbm", parameters={"n_estimators": 7, "num_leaves": 4}))

        assert model.estimator.booster_.num_trees() == 7
        assert model.estimator.get_params()["num_leaves"] == 4
        assert model.parameters["learning_rate"] == 0.1


class TestGrowing:
    """Trees are added in steps so that progress can be seen; the model must be that of one fit."""

    @pytest.mark.parametrize(
        ("algorithm", "task", "parameters", "kind"),
        [
            ("random_forest", Task.CLASSIFICATION, {"class_weight": "balanced"}, RandomForestClassifier),
            ("random_forest", Task.REGRESSION, {}, RandomForestRegressor),
            ("extra_trees", Task.CLASSIFICATION, {}, ExtraTreesClassifier),
            ("hist_gradient_boosting", Task.CLASSIFICATION, {"max_iter": 60}, HistGradientBoostingClassifier),
            ("hist_gradient_boosting", Task.REGRESSION, {"max_iter": 60}, HistGradientBoostingRegressor),
        ],
    )
    def test_steps_give_the_model_of_one_fit(
        self, tmp_path: Path, algorithm: str, task: Task, parameters: dict[str, Any], kind: Any
    ) -> None:
        table = people_table(tmp_path)
        asked = spec(algorithm, task=task, parameters=parameters, seed=3)
        seen: list[Progress] = []

        model = train(table, asked, seen.append, threads=2)

        target = target_of(table, asked.target, task=task)
        rows = learnt_rows(table, asked, model)
        matrix = model.encoder.matrix(table.rows(rows))
        extra = {"early_stopping": False} if "hist" in algorithm else {"n_jobs": 1}
        whole = kind(**parameters, **extra, random_state=3).fit(matrix, target.values[rows])
        ask = "predict_proba" if task is Task.CLASSIFICATION else "predict"
        everything = model.encoder.matrix(table)
        np.testing.assert_array_equal(
            getattr(model.estimator, ask)(everything), getattr(whole, ask)(everything)
        )
        assert len([each for each in seen if " of " in each.stage]) >= 1
        assert model.estimator.get_params()["warm_start"] is False


def learnt_rows(table: Any, asked: TrainSpec, model: TrainedModel) -> np.ndarray[Any, Any]:
    from ml_service.training.splitting import split

    target = target_of(table, asked.target, task=asked.task)
    train_rows, _, _ = split(
        target.values, by_class=target.classes is not None, fraction=asked.test_fraction, seed=model.seed
    )
    return train_rows


class TestProgress:
    @pytest.mark.parametrize("algorithm", ["xgboost", "lightgbm", "random_forest", "hist_gradient_boosting"])
    def test_comes_from_the_librarys_own_rounds(self, tmp_path: Path, algorithm: str) -> None:
        seen: list[Progress] = []
        parameter = "max_iter" if algorithm == "hist_gradient_boosting" else "n_estimators"
        table = people_table(tmp_path)

        train(table, spec(algorithm, parameters={parameter: 20}), seen.append, threads=2)

        percents = [each.percent for each in seen]
        assert percents == sorted(percents)
        unit = RECIPES[algorithm].rounds[1]  # type: ignore[index]
        assert f"{unit} 20 of 20" in [each.stage for each in seen]

    def test_a_fit_of_seconds_shows_several_values(self, tmp_path: Path) -> None:
        seen: list[Progress] = []
        table = people_table(tmp_path, rows=2000)
        asked = spec("lightgbm", parameters={"n_estimators": 1500, "num_leaves": 60})
        began = time.monotonic()

        train(table, asked, seen.append, threads=2)

        rounds = [each for each in seen if " of 1500" in each.stage]
        assert len(rounds) >= min(5, (time.monotonic() - began) / 0.5)
        assert all(each.eta_seconds is not None for each in rounds)


class TestLabels:
    @pytest.mark.parametrize(
        ("cells", "expected"),
        [
            ([1, 5, 9], [1, 5, 9]),
            (["true", "false"], [False, True]),
            (["b", "a"], ["a", "b"]),
            ([1.0, 2.0], [1.0, 2.0]),
            ([0.5, 1.5], [0.5, 1.5]),
        ],
    )
    def test_classes_keep_the_datasets_json_type(
        self, tmp_path: Path, cells: list[Any], expected: list[Label]
    ) -> None:
        frame = pd.DataFrame({"x": range(40), "y": [cells[place % len(cells)] for place in range(40)]})

        model = train(
            table_from(frame, tmp_path), spec("xgboost", target="y", preprocessing={}), ignore, threads=1
        )

        assert model.classes == expected
        assert [type(each) for each in model.classes or []] == [type(each) for each in expected]
        assert all(type(row.prediction) is type(expected[0]) for row in model.golden_rows)

    def test_rows_without_target_are_dropped_and_counted(self, tmp_path: Path) -> None:
        frame = people(100)
        frame.loc[:24, "bought"] = None

        model = train(table_from(frame, tmp_path), spec("xgboost"), ignore, threads=1)

        split = model.split
        assert (split.dropped_rows, split.train_rows + split.test_rows) == (25, 75)
        assert split.method == "stratified"


class TestSeeds:
    def test_a_seed_among_the_parameters_goes_before_the_jobs(self, tmp_path: Path) -> None:
        assert trained(tmp_path, spec(parameters={"random_state": 5}, seed=4)).seed == 5
        assert trained(tmp_path, spec(seed=4)).seed == 4


class TestGoldenRows:
    def test_are_held_out_rows_with_the_librarys_own_answers(self, tmp_path: Path) -> None:
        model = trained(tmp_path, spec("random_forest"))

        assert len(model.golden_rows) == 16
        for row in model.golden_rows:
            assert list(row.input) == ["age", "income", "city", "member", "since"]
            shares = row.probabilities or {}
            assert row.prediction == max(shares, key=lambda label: shares[label])


class TestFeatureMeans:
    def test_are_those_of_the_training_rows_that_have_a_value(self, tmp_path: Path) -> None:
        frame = people(200)
        frame["empty"] = [None if number else "2.5" for number in range(200)]
        kept = split(frame["spent"].to_numpy(), by_class=False, fraction=0.2, seed=0)[0]
        frame.loc[kept, "empty"] = None

        model = train(
            table_from(frame, tmp_path), spec("lightgbm", target="spent", task=Task.REGRESSION), ignore
        )

        found = dict(zip(model.encoder.features, model.feature_means, strict=True))
        learnt_from = frame.iloc[kept]
        assert found["age"] == pytest.approx(learnt_from["age"].mean())
        assert found["income"] == pytest.approx(learnt_from["income"].mean())
        assert found["city=Bonn"] == pytest.approx((learnt_from["city"] == "Bonn").mean())
        assert found["city (missing)"] == pytest.approx(learnt_from["city"].isna().mean())
        assert found["empty"] == 0.0


class TestRefusals:
    def test_a_missing_target_lists_the_columns(self, tmp_path: Path) -> None:
        problem = refused(tmp_path, people(), target="churn", preprocessing={})

        assert type(problem) is TargetMissing
        assert "age, income, city, member, since, bought, level, spent" in problem.problem.detail

    @pytest.mark.parametrize(
        ("cells", "task", "expected"),
        [
            (["a"] * 50, Task.CLASSIFICATION, TargetHasOneClass),
            ([None] * 50, Task.CLASSIFICATION, TargetIsEmpty),
            ([None] * 50, Task.REGRESSION, TargetIsEmpty),
            ([None] * 45 + [1, 2, 1, 2, 1], Task.CLASSIFICATION, TooFewRows),
            (["a", "b"] * 25, Task.REGRESSION, TargetIsNotNumeric),
            (["true", "false"] * 25, Task.REGRESSION, TargetIsNotNumeric),
            ([number / 7 for number in range(50)], Task.CLASSIFICATION, TargetIsNotAClass),
            ([f"2026-01-{day % 28 + 1:02}" for day in range(50)], Task.CLASSIFICATION, TargetIsNotAClass),
        ],
    )
    def test_a_target_that_does_not_fit_the_task(
        self, tmp_path: Path, cells: list[Any], task: Task, expected: type[JobProblem]
    ) -> None:
        frame = pd.DataFrame({"x": range(50), "y": cells})

        problem = refused(tmp_path, frame, task=task, target="y", preprocessing={})

        assert type(problem) is expected

    def test_more_classes_than_can_be_learnt(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"x": range(201), "y": [f"id{number}" for number in range(201)]})

        assert type(refused(tmp_path, frame, target="y", preprocessing={})) is TooManyClasses

    def test_no_feature_column_left(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"x": range(50), "y": ["a", "b"] * 25})

        assert type(refused(tmp_path, frame, target="y", preprocessing={"exclude": ["x"]})) is NoFeatures

    def test_preprocessing_names_the_target_or_nonsense(self, tmp_path: Path) -> None:
        problem = refused(tmp_path, people(), preprocessing={"exclude": ["bought"], "pca": 3})

        assert type(problem) is InvalidPreprocessing
        assert len(problem.problem.errors or []) == 2

    @pytest.mark.parametrize(
        ("facts", "expected", "named"),
        [
            ({"framework": "torch"}, UnknownTraining, "scikit-learn, xgboost, lightgbm"),
            ({"algorithm": "forest", "framework": "scikit-learn"}, UnknownTraining, "random_forest"),
            ({"algorithm": "ridge", "task": Task.CLASSIFICATION}, UnknownTraining, "logistic_regression"),
            ({"parameters": {"n_trees": 5}}, InvalidParameters, "n_trees"),
            ({"parameters": {"n_estimators": -1}}, InvalidParameters, "n_estimators"),
            (
                {"task": Task.REGRESSION, "parameters": {"class_weight": "balanced"}},
                InvalidParameters,
                "class_weight",
            ),
        ],
    )
    def test_requests_that_cannot_be_understood(
        self, tmp_path: Path, facts: dict[str, Any], expected: type[JobProblem], named: str
    ) -> None:
        problem = refused(tmp_path, people(), **facts)

        assert type(problem) is expected
        assert named in problem.problem.detail

    def test_what_the_library_refuses_is_said_in_its_words(self, tmp_path: Path) -> None:
        problem = refused(tmp_path, people(50), algorithm="knn", parameters={"n_neighbors": 500})

        assert type(problem) is FitFailed
        assert "n_neighbors" in problem.problem.detail

    def test_predictions_that_are_not_finite_are_a_problem(self) -> None:
        diverged = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
        diverged.coef_ = np.array([math.inf])

        with pytest.raises(FitFailed, match="diverged"):
            answers_of(diverged, np.array([[1.0]]), task=Task.REGRESSION)

    def test_a_target_beyond_float32(self, tmp_path: Path) -> None:
        frame = people(50)
        frame["spent"] *= 1e60

        assert type(refused(tmp_path, frame, task=Task.REGRESSION)) is TargetTooLarge

    def test_a_fit_that_has_not_converged_is_said_but_not_refused(self, tmp_path: Path) -> None:
        model = trained(tmp_path, spec("logistic_regression", parameters={"max_iter": 1}))

        assert any("converge" in sentence for sentence in model.warnings)
        assert model.evaluation["warnings"] == model.warnings


class TestSmallData:
    @pytest.mark.parametrize("algorithm", [each.name for each in ALGORITHMS if each.name != "svm"])
    def test_a_dozen_rows_and_a_rare_class_can_be_learnt(self, tmp_path: Path, algorithm: str) -> None:
        table = table_from(dozen_rows(), tmp_path)
        for task in next(each.tasks for each in ALGORITHMS if each.name == algorithm):
            target = "y" if task is Task.CLASSIFICATION else "z"
            asked = spec(algorithm, task=task, target=target, preprocessing={})

            model = train(table, asked, ignore, threads=1)

            assert model.classes == ([0, 1, 2] if task is Task.CLASSIFICATION else None)

    def test_svm_says_that_a_class_is_too_rare_for_its_folds(self, tmp_path: Path) -> None:
        problem = refused(tmp_path, dozen_rows(), algorithm="svm", target="y", preprocessing={})

        assert type(problem) is FitFailed
        assert "class" in problem.problem.detail

    def test_columns_without_information_do_no_harm(self, tmp_path: Path) -> None:
        frame = people(60)
        frame["empty"] = None
        frame["constant"] = 5
        table = table_from(frame, tmp_path)

        for algorithm in (
            "random_forest",
            "logistic_regression",
            "xgboost",
            "lightgbm",
            "hist_gradient_boosting",
        ):
            train(table, spec(algorithm), ignore, threads=1)


def dozen_rows() -> pd.DataFrame:
    return pd.DataFrame({"x": range(12), "y": [0, 1] * 5 + [2, 0], "z": [number / 3 for number in range(12)]})
