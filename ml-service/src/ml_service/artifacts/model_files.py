"""Write a fitted estimator as its library's native file, and load one."""

from pathlib import Path
from typing import Any

from ml_service.artifacts.files import described
from ml_service.artifacts.problems import CorruptArtifact
from ml_service.artifacts.scorers import ForestScorer, LightgbmScorer, LinearScorer, Scorer, SklearnScorer
from ml_service.artifacts.skops_file import read_skops, write_skops
from ml_service.artifacts.xgboost_scorer import XgboostScorer
from platform_kit.contract.algorithms import Framework
from platform_kit.contract.artifact import ArtifactFile, Manifest, Task

FILE_NAMES = {
    Framework.SCIKIT_LEARN: "model.skops",
    Framework.XGBOOST: "model.ubj",
    Framework.LIGHTGBM: "model.txt",
}

_LINEAR = {"LogisticRegression", "LinearRegression", "Ridge", "Lasso", "ElasticNet"}
"""These answer with nothing but sums of products; other linear models of the library do more."""


def write(estimator: Any, framework: Framework, directory: Path) -> list[ArtifactFile]:
    """Write the estimator's files; their keys are the object store's names for these bytes."""
    path = directory / FILE_NAMES[framework]
    match framework:
        case Framework.XGBOOST:
            estimator.get_booster().save_model(path)
        case Framework.LIGHTGBM:
            estimator.booster_.save_model(path)
        case Framework.SCIKIT_LEARN:
            write_skops(estimator, path)
    return [described(path)]


def load(manifest: Manifest, directory: Path) -> Scorer:
    """Load a version's model from files that the caller has verified. Raises CorruptArtifact."""
    try:
        framework = Framework(manifest.framework)
    except ValueError as error:
        raise CorruptArtifact(
            f"The manifest names the framework {manifest.framework!r}, which is not known."
        ) from error
    path = directory / FILE_NAMES[framework]
    if not path.is_file():
        raise CorruptArtifact(f"{path.name} is missing.")
    match framework:
        case Framework.XGBOOST:
            return XgboostScorer(_xgboost_booster(path), manifest.task)
        case Framework.LIGHTGBM:
            return LightgbmScorer(_lightgbm_booster(path), manifest.task)
        case Framework.SCIKIT_LEARN:
            return _sklearn_scorer(read_skops(path), manifest.task)


def _xgboost_booster(path: Path) -> Any:
    import xgboost

    try:
        booster = xgboost.Booster(model_file=path)
    except xgboost.core.XGBoostError as error:
        raise CorruptArtifact(f"{path.name} cannot be read by XGBoost.") from error
    booster.set_param({"nthread": 1})
    return booster


def _lightgbm_booster(path: Path) -> Any:
    import lightgbm

    try:
        return lightgbm.Booster(model_file=path)
    except lightgbm.basic.LightGBMError as error:
        raise CorruptArtifact(f"{path.name} cannot be read by LightGBM.") from error


def _sklearn_scorer(estimator: Any, task: Task) -> Scorer:
    if not hasattr(estimator, "predict"):
        raise CorruptArtifact(f"The file holds a {type(estimator).__name__}, which does not predict.")
    kind = type(estimator)
    if kind.__module__ == "sklearn.ensemble._forest" and hasattr(estimator, "estimators_"):
        return ForestScorer(estimator, task)
    is_linear = kind.__module__.startswith("sklearn.linear_model.") and kind.__name__ in _LINEAR
    if is_linear and hasattr(estimator, "coef_"):
        return LinearScorer(estimator, task)
    return SklearnScorer(estimator, task)
