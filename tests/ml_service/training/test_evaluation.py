"""Numbers by hand, and against scikit-learn's metrics, which the code under test does not use."""

import math

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.tree import DecisionTreeClassifier

from ml_service.training.evaluation import (
    classification_metrics,
    confusion,
    importances,
    per_class_report,
    regression_metrics,
)

TRUE = np.array([0, 0, 0, 1, 1, 2])
GUESSED = np.array([0, 0, 1, 1, 1, 0])
SHARES = np.array(
    [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.5, 0.4], [0.6, 0.1, 0.3]]
)


class TestClassification:
    def test_by_hand(self) -> None:
        found = classification_metrics(TRUE, GUESSED, SHARES)

        assert found["accuracy"] == pytest.approx(4 / 6)
        assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 + 0) / 3)
        # F1: class 0 2*2/(3+3), class 1 2*2/(2+3), class 2 0.
        assert found["f1_macro"] == pytest.approx((4 / 6 + 4 / 5 + 0) / 3)
        given = [0.7, 0.5, 0.3, 0.7, 0.5, 0.3]
        assert found["log_loss"] == pytest.approx(-sum(map(math.log, given)) / 6)
        assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(TRUE, SHARES, multi_class="ovr"))

    def test_binary_roc_auc_by_hand(self) -> None:
        scores = np.array([0.1, 0.4, 0.4, 0.8])
        true = np.array([0, 1, 0, 1])

        found = classification_metrics(
            true, (scores > 0.5).astype(int), np.stack([1 - scores, scores], axis=1)
        )

        # Four pairs: 0.4 > 0.1, 0.4 = 0.4 (half), 0.8 > 0.1, 0.8 > 0.4.
        assert found["roc_auc"] == pytest.approx(3.5 / 4)

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("count", [2, 4])
    def test_agrees_with_scikit_learn(self, seed: int, count: int) -> None:
        random = np.random.default_rng(seed)
        true = np.concatenate([np.arange(count), random.integers(0, count, 60)])
        shares = random.dirichlet(np.ones(count), len(true)).round(2)
        shares /= shares.sum(axis=1, keepdims=True)
        guessed = shares.argmax(axis=1)

        found = classification_metrics(true, guessed, shares)

        scores = shares[:, 1] if count == 2 else shares
        assert found == pytest.approx(
            {
                "accuracy": reference.accuracy_score(true, guessed),
                "balanced_accuracy": reference.balanced_accuracy_score(true, guessed),
                "f1_macro": reference.f1_score(true, guessed, average="macro"),
                "log_loss": reference.log_loss(true, shares),
                "roc_auc": reference.roc_auc_score(true, scores, multi_class="ovr", average="macro"),
            }
        )

    def test_roc_auc_is_left_out_when_a_class_is_not_held_out(self) -> None:
        found = classification_metrics(
            np.array([0, 1]), np.array([0, 1]), np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2]])
        )

        assert "roc_auc" not in found
        assert found["balanced_accuracy"] == 1.0

    def test_a_certain_error_costs_a_finite_loss(self) -> None:
        found = classification_metrics(np.array([0, 1]), np.array([1, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))

        assert found["log_loss"] == pytest.approx(-math.log(np.finfo(float).eps) / 2)

    def test_the_report_by_hand(self) -> None:
        matrix = confusion(TRUE, GUESSED, 3)

        assert matrix.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
        assert per_class_report(matrix, [False, True, 2.5]) == {
            "false": {"precision": 2 / 3, "recall": 2 / 3, "f1": 4 / 6, "support": 3},
            "true": {"precision": 2 / 3, "recall": 1.0, "f1": 4 / 5, "support": 2},
            "2.5": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
        }


class TestRegression:
    def test_by_hand(self) -> None:
        found = regression_metrics(np.array([1.0, 2.0, 6.0]), np.array([1.0, 4.0, 5.0]))

        assert found == pytest.approx({"rmse": math.sqrt(5 / 3), "mae": 1.0, "r2": 1 - 5 / 14})

    def test_r2_is_left_out_when_the_target_does_not_vary(self) -> None:
        assert "r2" not in regression_metrics(np.array([2.0, 2.0]), np.array([1.0, 2.0]))


class TestImportances:
    def test_are_shares_with_the_weightiest_first(self) -> None:
        random = np.random.default_rng(0)
        matrix = random.normal(size=(100, 3))
        tree = DecisionTreeClassifier(random_state=0).fit(matrix, matrix[:, 2] > 0)

        assert importances(tree, ["a", "b", "c"]) == [
            {"feature": "c", "importance": 1.0},
            {"feature": "a", "importance": 0.0},
            {"feature": "b", "importance": 0.0},
        ]

    def test_are_none_when_the_estimator_does_not_say(self) -> None:
        assert importances(object(), ["a"]) is None
