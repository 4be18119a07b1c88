"""From the names of platform_kit.contract.algorithms to estimators of the libraries, in one table.

Each library is imported when one of its estimators is made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ml_service.features.encoder import Needs
from platform_kit.contract.artifact import Task

Estimator = Any
"""An unfitted or fitted estimator with scikit-learn's interface; the libraries ship no types."""


class FitStyle(StrEnum):
    PLAIN = "plain"
    GROWN = "grown"
    """In steps by `warm_start`: the same model as in one go."""
    XGBOOST = "xgboost"
    LIGHTGBM = "lightgbm"


@dataclass(frozen=True, slots=True)
class Setup:
    """parameters: every parameter of the algorithm's table; threads: how many the fit may use."""

    task: Task
    parameters: Mapping[str, Any]
    seed: int
    threads: int
    smallest_class: int = 0
    """Training rows of the rarest class; 0 for regression."""

    @property
    def classifies(self) -> bool:
        return self.task is Task.CLASSIFICATION


@dataclass(frozen=True, slots=True)
class Recipe:
    """rounds: the parameter that counts rounds or trees, and what to call one of them."""

    make: Callable[[Setup], Estimator]
    needs: Needs
    style: FitStyle = FitStyle.PLAIN
    rounds: tuple[str, str] | None = None
    tolerance: float = 1e-12


def _logistic_regression(setup: Setup) -> Estimator:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(**setup.parameters, random_state=setup.seed)


def _linear_regression(setup: Setup) -> Estimator:
    from sklearn.linear_model import LinearRegression

    return LinearRegression(**setup.parameters)


def _ridge(setup: Setup) -> Estimator:
    from sklearn.linear_model import Ridge

    return Ridge(**setup.parameters, random_state=setup.seed)


def _lasso(setup: Setup) -> Estimator:
    from sklearn.linear_model import Lasso

    return Lasso(**setup.parameters, random_state=setup.seed)


def _elastic_net(setup: Setup) -> Estimator:
    from sklearn.linear_model import ElasticNet

    return ElasticNet(**setup.parameters, random_state=setup.seed)


def _random_forest(setup: Setup) -> Estimator:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    return _forest(RandomForestClassifier if setup.classifies else RandomForestRegressor, setup)


def _extra_trees(setup: Setup) -> Estimator:
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    return _forest(ExtraTreesClassifier if setup.classifies else ExtraTreesRegressor, setup)


def _forest(kind: Callable[..., Estimator], setup: Setup) -> Estimator:
    """No `max_features` is the library's default, which differs by task; regressors know no class weights."""
    given = {
        name: value for name, value in setup.parameters.items() if value is not None or name == "max_depth"
    }
    return kind(**given, random_state=setup.seed, n_jobs=setup.threads)


def _hist_gradient_boosting(setup: Setup) -> Estimator:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if setup.classifies else HistGradientBoostingRegressor
    # Its sums depend on the number of threads: alone among these, it repeats to the bit only with as many.
    # The library stops early above 10 000 rows; then rounds would not be what was asked for.
    return kind(**setup.parameters, early_stopping=False, random_state=setup.seed)


def _knn(setup: Setup) -> Estimator:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    kind = KNeighborsClassifier if setup.classifies else KNeighborsRegressor
    return kind(**setup.parameters, n_jobs=setup.threads)


def _svm(setup: Setup) -> Estimator:
    """Probabilities come from Platt scaling over folds: scikit-learn 1.9 deprecates `SVC(probability=True)`,
    and its warning names this instead. The label is the likeliest class by these probabilities.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC, SVR

    if not setup.classifies:
        return SVR(**setup.parameters)
    folds = max(2, min(5, setup.smallest_class))
    return CalibratedClassifierCV(SVC(**setup.parameters), ensemble=False, cv=folds)


def _naive_bayes(setup: Setup) -> Estimator:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB(**setup.parameters)


def _mlp(setup: Setup) -> Estimator:
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    parameters = {**setup.parameters, "hidden_layer_sizes": tuple(setup.parameters["hidden_layer_sizes"])}
    return (MLPClassifier if setup.classifies else MLPRegressor)(**parameters, random_state=setup.seed)


def _dummy(setup: Setup) -> Estimator:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    return DummyClassifier(random_state=setup.seed) if setup.classifies else DummyRegressor()


def _xgboost(setup: Setup) -> Estimator:
    from xgboost import XGBClassifier, XGBRegressor

    kind = XGBClassifier if setup.classifies else XGBRegressor
    return kind(
        **setup.parameters, random_state=setup.seed, n_jobs=setup.threads, tree_method="hist", verbosity=0
    )


def _lightgbm(setup: Setup) -> Estimator:
    """n_jobs 0 is OpenMP's own limit, which the fit sets; a number would be written into the model's text."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMClassifier if setup.classifies else LGBMRegressor
    return kind(
        **setup.parameters,
        random_state=setup.seed,
        n_jobs=0,
        deterministic=True,
        force_row_wise=True,
        verbosity=-1,
    )


_TREES = Needs(knows_missing=True, wants_scaling=False)
_SCALED = Needs(knows_missing=False, wants_scaling=True)
_FOREST_ROUNDS = ("n_estimators", "tree")

RECIPES: dict[str, Recipe] = {
    "logistic_regression": Recipe(_logistic_regression, _SCALED),
    # Least squares lose digits when one column is a time in seconds and another a share of 1.
    "linear_regression": Recipe(_linear_regression, _SCALED),
    "ridge": Recipe(_ridge, _SCALED),
    "lasso": Recipe(_lasso, _SCALED),
    "elastic_net": Recipe(_elastic_net, _SCALED),
    "random_forest": Recipe(_random_forest, _TREES, FitStyle.GROWN, _FOREST_ROUNDS),
    "extra_trees": Recipe(_extra_trees, _TREES, FitStyle.GROWN, _FOREST_ROUNDS),
    "hist_gradient_boosting": Recipe(_hist_gradient_boosting, _TREES, FitStyle.GROWN, ("max_iter", "round")),
    "knn": Recipe(_knn, _SCALED),
    "svm": Recipe(_svm, _SCALED),
    # Scaling does not change what it learns, and keeps squares of far-away numbers finite.
    "naive_bayes": Recipe(_naive_bayes, _SCALED),
    "mlp": Recipe(_mlp, _SCALED),
    "dummy": Recipe(_dummy, _TREES),
    "xgboost": Recipe(_xgboost, _TREES, FitStyle.XGBOOST, ("n_estimators", "round"), tolerance=1e-6),
    "lightgbm": Recipe(_lightgbm, _TREES, FitStyle.LIGHTGBM, ("n_estimators", "round")),
}
