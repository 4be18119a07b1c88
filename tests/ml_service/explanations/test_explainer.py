"""The promise: base value and contributions are the model's score, and they belong to the data set's columns."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from ml_service.explanations.explainer import Explainer
from ml_service.explanations.problems import NotExplainable
from platform_kit.contract.algorithms import ALGORITHMS
from platform_kit.contract.artifact import Task
from platform_kit.contract.inputs import Value
from platform_kit.contract.prediction import Explanation, ExplanationMethod, Scale
from tests.ml_service.explanations.conftest import UNUSED, Trained, Training

EXACT = [
    *[("xgboost", target, 1e-9) for target in ("bought", "level", "spent")],
    *[("lightgbm", target, 1e-9) for target in ("bought", "level", "spent")],
    *[("logistic_regression", target, 1e-9) for target in ("bought", "level")],
    *[(name, "spent", 1e-9) for name in ("linear_regression", "ridge", "lasso", "elastic_net")],
]
SAMPLED = [
    "random_forest",
    "extra_trees",
    "hist_gradient_boosting",
    "knn",
    "svm",
    "naive_bayes",
    "mlp",
    "dummy",
]
IGNORES_CONSTANTS = [
    *[(name, "bought") for name in ("xgboost", "lightgbm", "random_forest", "extra_trees", "dummy")],
    *[("hist_gradient_boosting", "spent"), ("logistic_regression", "level")],
    *[(name, "spent") for name in ("linear_regression", "ridge", "lasso", "elastic_net")],
]
EVERY = [
    pytest.param(each.name, target, id=f"{each.name}-{target}")
    for each in ALGORITHMS
    for task in each.tasks
    for target in (["bought", "level"] if task is Task.CLASSIFICATION else ["spent"])
]


def missing(explanation: Explanation) -> float:
    """What the sum misses, by the rule for equal numbers."""
    total = explanation.base_value + sum(explanation.contributions.values())
    return abs(total - explanation.raw_score) / max(1.0, abs(explanation.raw_score))


def library_margins(model: Trained, rows: list[list[Value]]) -> Any:
    """The score that is explained, of every class, by the fitted estimator: (n_rows, n_classes)."""
    matrix, estimator = model.matrix(rows), model.estimator
    if model.manifest.task is Task.REGRESSION:
        return estimator.predict(matrix).reshape(-1, 1)
    match model.manifest.algorithm:
        case "xgboost":
            margins = estimator.predict(matrix, output_margin=True)
        case "lightgbm":
            margins = estimator.predict(matrix, raw_score=True)
        case "logistic_regression":
            margins = estimator.decision_function(matrix)
        case _:
            return estimator.predict_proba(matrix)
    return np.stack([-margins, margins], axis=1) if margins.ndim == 1 else margins


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
class TestSum:
    @pytest.mark.parametrize(("algorithm", "target", "limit"), EXACT)
    def test_is_the_librarys_score_of_the_predicted_class(
        self, trained: Training, algorithm: str, target: str, limit: float
    ) -> None:
        model = trained(algorithm, target)
        rows = model.rows()

        found = model.explained(rows)

        assert len(found) == 1000
        assert max(missing(each) for each in found) <= limit
        margins, classes = library_margins(model, rows), model.manifest.classes
        for each, expected, answer in zip(found, margins, model.predictor.predict(rows), strict=True):
            label = None if classes is None else answer[0]
            assert (each.explains, each.is_exact) == (label, True)
            place = 0 if classes is None or label is None else classes.index(label)
            assert each.raw_score == pytest.approx(float(expected[place]), abs=1e-9, rel=1e-9)

    def test_of_xgboost_holds_for_a_score_near_zero_that_is_left_of_large_contributions(
        self, trained: Training
    ) -> None:
        model = trained("xgboost", "balance", '{"n_estimators": 200, "max_depth": 8}')

        found = model.explained(model.rows(200))

        assert min(abs(each.raw_score) for each in found) < 10
        assert max(abs(each.contributions["income"]) for each in found) > 3000
        assert max(missing(each) for each in found) <= 1e-9

    @pytest.mark.parametrize(("algorithm", "target"), EVERY)
    def test_holds_for_every_algorithm(self, trained: Training, algorithm: str, target: str) -> None:
        model = trained(algorithm, target)

        (found,) = model.explained(model.rows(1))

        assert list(found.contributions) == model.manifest.contract.names
        assert missing(found) <= 1e-9
        assert found.is_exact == (algorithm not in SAMPLED)
        assert (found.note is None) == found.is_exact
        assert (found.method is ExplanationMethod.SAMPLED_SHAPLEY) == (algorithm in SAMPLED)
        probability_or_odds = Scale.PROBABILITY if algorithm in SAMPLED else Scale.LOG_ODDS
        assert found.scale is (Scale.TARGET if target == "spent" else probability_or_odds)


class TestContributions:
    @pytest.mark.parametrize("algorithm", ["xgboost", "lightgbm"])
    @pytest.mark.parametrize("target", ["bought", "level", "spent"])
    def test_of_trees_are_the_librarys_own_added_up_by_column(
        self, trained: Training, algorithm: str, target: str
    ) -> None:
        model = trained(algorithm, target)
        rows = model.rows(50)

        found = model.explained(rows)

        expected = library_contributions(model, rows)
        features = [*model.predictor.encoder.features, "base"]
        for number, each in enumerate(found):
            place = model.manifest.classes.index(each.explains) if model.manifest.classes else 0  # type: ignore[arg-type]
            own = dict(zip(features, expected[number][place].tolist(), strict=True))
            assert each.base_value == pytest.approx(own["base"], rel=1e-4)
            for name, contribution in each.contributions.items():
                parts = [
                    value for feature, value in own.items() if feature.startswith((f"{name}=", f"{name} ("))
                ]
                assert contribution == pytest.approx(sum(parts, own.get(name, 0.0)), rel=1e-4, abs=1e-5)

    @pytest.mark.parametrize(
        ("algorithm", "target"),
        [("logistic_regression", "bought"), ("logistic_regression", "level"), ("ridge", "spent")],
    )
    def test_of_linear_models_are_what_the_score_loses_at_the_training_mean(
        self, trained: Training, algorithm: str, target: str
    ) -> None:
        model = trained(algorithm, target)
        (row,) = model.rows(1)
        matrix, blocks = model.matrix([row]), model.predictor.encoder.blocks
        means = np.array(model.manifest.feature_means)

        (found,) = model.explained([row])

        place = model.manifest.classes.index(found.explains) if model.manifest.classes else 0  # type: ignore[arg-type]
        ask = model.estimator.predict if target == "spent" else model.estimator.decision_function
        sign = -1 if target == "bought" and place == 0 else 1
        for block, contribution in zip(blocks, found.contributions.values(), strict=True):
            changed = matrix.copy()
            changed[:, block] = means[block]
            score, other = (np.ravel(ask(each)) for each in (matrix, changed))
            at = place if target == "level" else 0
            assert contribution == pytest.approx(sign * (score[at] - other[at]), abs=1e-9)

    @pytest.mark.parametrize(("algorithm", "target"), IGNORES_CONSTANTS)
    def test_of_a_column_that_the_model_does_not_use_are_0_whatever_it_holds(
        self, trained: Training, algorithm: str, target: str
    ) -> None:
        model = trained(algorithm, target)
        count = 5 if algorithm in SAMPLED else 200
        place = model.manifest.contract.names.index(UNUSED)
        rows = model.rows(count)
        shuffled = [
            [*row[:place], float(number * 7 % 11), *row[place + 1 :]] for number, row in enumerate(rows)
        ]

        before, after = model.explained(rows), model.explained(shuffled)

        assert {each.contributions[UNUSED] for each in before + after} == {0.0}
        if algorithm != "dummy":
            assert any(each.contributions["age"] for each in before)
        for one, other in zip(before, after, strict=True):
            assert other.contributions == pytest.approx(one.contributions, rel=1e-12)

    @pytest.mark.parametrize("target", ["bought", "level"])
    @pytest.mark.parametrize("algorithm", ["xgboost", "lightgbm", "logistic_regression", "random_forest"])
    def test_can_be_asked_for_another_class_than_the_predicted_one(
        self, trained: Training, algorithm: str, target: str
    ) -> None:
        model = trained(algorithm, target)
        rows = model.rows(1)
        classes = model.manifest.classes or []
        margins = library_margins(model, rows)[0]

        found = [model.explained(rows, explained=[number])[0] for number in range(len(classes))]

        assert [each.explains for each in found] == classes
        for each, margin in zip(found, margins, strict=True):
            assert each.raw_score == pytest.approx(float(margin), abs=1e-6)
            assert missing(each) <= 1e-9
        if target == "bought":
            first, second = (each.contributions for each in found)
            assert list(first.values()) == pytest.approx([-value for value in second.values()], abs=1e-12)


class TestExplain:
    @pytest.mark.parametrize(("algorithm", "target"), EVERY)
    def test_says_the_same_of_a_row_alone_and_among_others(
        self, trained: Training, algorithm: str, target: str
    ) -> None:
        model = trained(algorithm, target)
        rows = model.rows(3 if algorithm in SAMPLED else 40)

        together = model.explained(rows)

        assert [model.explained([row])[0] for row in rows] == together

    @pytest.mark.parametrize("algorithm", ["xgboost", "lightgbm", "random_forest", "logistic_regression"])
    def test_may_be_asked_by_several_threads_at_once(self, trained: Training, algorithm: str) -> None:
        model = trained(algorithm, "bought")
        rows = model.rows(24)
        expected = model.explained(rows)
        explainer = Explainer(model.manifest, model.predictor)

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda row: explainer.explain([row], model.matrix([row]))[0], rows))

        assert found == expected

    def test_of_a_version_without_training_means_compares_with_zeros_and_says_so(
        self, trained: Training
    ) -> None:
        model = trained("ridge", "spent")
        rows = model.rows(1)
        older = model.manifest.model_copy(update={"feature_means": None})

        (found,) = Explainer(older, model.predictor).explain(rows, model.matrix(rows))

        assert found.note is not None
        assert "row of zeros" in found.note
        assert found.base_value == pytest.approx(float(model.estimator.intercept_))
        assert missing(found) <= 1e-9

    def test_needs_held_out_rows_where_it_samples(self, trained: Training) -> None:
        model = trained("random_forest", "bought")
        rows = model.rows(1)
        bare = model.manifest.model_copy(update={"golden_rows": []})

        with pytest.raises(NotExplainable, match="held-out rows"):
            Explainer(bare, model.predictor).explain(rows, model.matrix(rows))

    def test_imports_no_pandas(self) -> None:
        script = "import sys, ml_service.explanations.explainer; raise SystemExit('pandas' in sys.modules)"

        assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


def library_contributions(model: Trained, rows: list[list[Value]]) -> Any:
    """By the fitted estimator, of every class: (n_rows, n_classes, n_features + 1)."""
    matrix, classes = model.matrix(rows), model.manifest.classes
    if model.manifest.algorithm == "xgboost":
        import xgboost

        booster = model.estimator.get_booster()
        found = booster.predict(xgboost.DMatrix(matrix), pred_contribs=True).astype(np.float64)
    else:
        found = model.estimator.booster_.predict(matrix, pred_contrib=True)
    if classes is None:
        return found[:, np.newaxis]
    if len(classes) == 2:
        return np.stack([-found, found], axis=1)
    return found.reshape(len(rows), len(classes), -1)
