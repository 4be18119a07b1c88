"""One row walked through the trees answers as XGBoost does, to the last bit."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xgboost
from sklearn.datasets import make_classification, make_regression

from ml_service.artifacts.tree_walk import TreeWalk
from ml_service.artifacts.xgboost_scorer import XgboostScorer
from platform_kit.contract.artifact import Task

TREES = {"n_estimators": 60, "random_state": 1, "n_jobs": 1}


def table(classes: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """With gaps. classes: 0 for a number to predict."""
    if classes:
        features, target = make_classification(
            1500, 12, n_informative=8, n_classes=classes, random_state=classes
        )
    else:
        features, target = make_regression(1500, 12, noise=5.0, random_state=3)
    features[np.random.default_rng(5).random(features.shape) < 0.1] = np.nan
    return features, target


def booster(classes: int, **parameters: Any) -> tuple[xgboost.Booster, npt.NDArray[Any]]:
    features, target = table(classes)
    kind = xgboost.XGBClassifier if classes else xgboost.XGBRegressor
    model = kind(**{**TREES, **parameters}).fit(features, target).get_booster()
    model.set_param({"nthread": 1})
    return model, features


SHAPES = [
    pytest.param(2, {}, id="two classes"),
    pytest.param(4, {}, id="four classes"),
    pytest.param(0, {}, id="a number"),
    pytest.param(2, {"max_depth": 0, "max_leaves": 40, "grow_policy": "lossguide"}, id="lopsided trees"),
    pytest.param(2, {"max_depth": 1}, id="stumps"),
    pytest.param(0, {"gamma": 1e12}, id="trees of one leaf"),
    pytest.param(2, {"base_score": 0.9}, id="another start"),
]


@pytest.mark.parametrize(("classes", "parameters"), SHAPES)
def test_a_row_is_answered_as_by_the_library(classes: int, parameters: dict[str, Any]) -> None:
    model, features = booster(classes, **parameters)
    walk = TreeWalk.of(model)
    assert walk is not None

    found = np.stack([walk.answer(row) for row in features.astype(np.float32)])

    expected = model.inplace_predict(features, validate_features=False).reshape(len(features), -1)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("classes", [2, 4, 0])
def test_a_row_is_scored_alone_as_among_others(classes: int) -> None:
    model, features = booster(classes)
    scorer = XgboostScorer(model, Task.CLASSIFICATION if classes else Task.REGRESSION)

    alone = np.concatenate([scorer.scores(features[place : place + 1]) for place in range(300)])

    assert np.array_equal(alone, scorer.scores(features[:300]))


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"objective": "reg:pseudohubererror"}, id="an objective that is not known"),
        pytest.param({"booster": "gblinear"}, id="no trees"),
        pytest.param({"booster": "dart", "rate_drop": 0.5}, id="trees with weights"),
    ],
)
def test_what_is_not_known_is_left_to_the_library(parameters: dict[str, Any]) -> None:
    model, features = booster(0, **parameters)

    assert TreeWalk.of(model) is None
    if parameters.get("booster") != "gblinear":
        found = XgboostScorer(model, Task.REGRESSION).scores(features[:1])
        assert found[0] == model.inplace_predict(features[:1])[0]
