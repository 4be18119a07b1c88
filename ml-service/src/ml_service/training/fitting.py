"""Run a library's fit, with its own rounds as progress and its own words as the problem."""

import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from ml_service.training.algorithms import Estimator, FitStyle, Recipe
from ml_service.training.problems import FitFailed
from ml_service.training.progress import Meter

Matrix = npt.NDArray[np.float64]
_SOURCE_LINE = re.compile(r"^\[[\d:]+\] \S+: (?:Check failed: [^:]*: )?")
"""XGBoost begins with the time and the line of its own source."""
Answer = TypeVar("Answer")

_CHUNKS = 25
"""A boosting grows in at most this many steps."""
_CHUNK_SECONDS = 0.25
"""A step that takes less is followed by one twice as large."""
_WARM_CLASS_WEIGHT = "class_weight presets"
"""The library warns that such presets may change between warm starts; here every step sees the same rows."""


def fit(
    recipe: Recipe,
    estimator: Estimator,
    matrix: Matrix,
    values: npt.NDArray[Any],
    *,
    meter: Meter,
    threads: int,
) -> list[str]:
    """Fit `estimator` in place; return what the library warned of. Raises FitFailed."""
    fitters: dict[FitStyle, Callable[[Recipe, Estimator, Matrix, npt.NDArray[Any], Meter], None]] = {
        FitStyle.PLAIN: _plain,
        FitStyle.GROWN: _grown,
        FitStyle.XGBOOST: _xgboost,
        FitStyle.LIGHTGBM: _lightgbm,
    }
    with threadpool_limits(limits={"openmp": threads, "blas": 1}), caught_warnings() as sentences:
        asked(lambda: fitters[recipe.style](recipe, estimator, matrix, values, meter))
    _single_threaded(estimator)
    return sentences


def asked(question: Callable[[], Answer]) -> Answer:
    """Ask a library; what it refuses becomes a problem in its own words. Raises FitFailed."""
    try:
        return question()
    except Exception as error:
        if "bad_alloc" in str(error):
            raise MemoryError from error
        # XGBoostError is a ValueError; LightGBMError is not, and importing it would load the library.
        if not isinstance(error, ValueError | ArithmeticError) and type(error).__name__ != "LightGBMError":
            raise
        raise FitFailed(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"The library refused: {_SOURCE_LINE.sub('', first)[:500]}"


@contextmanager
def caught_warnings() -> Iterator[list[str]]:
    """Collect the sentences of warnings, each once."""
    sentences: list[str] = []
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield sentences
    texts = (
        str(each.message).splitlines()[0] for each in found if _WARM_CLASS_WEIGHT not in str(each.message)
    )
    sentences.extend(dict.fromkeys(texts))


def _single_threaded(estimator: Estimator) -> None:
    """Forests add up their trees in the order in which threads finish; one thread gives one sum."""
    if "n_jobs" in estimator.get_params(deep=False) and estimator.n_jobs != 0:
        estimator.set_params(n_jobs=1)


def _plain(
    _recipe: Recipe, estimator: Estimator, matrix: Matrix, values: npt.NDArray[Any], _meter: Meter
) -> None:
    estimator.fit(matrix, values)


def _grown(
    recipe: Recipe, estimator: Estimator, matrix: Matrix, values: npt.NDArray[Any], meter: Meter
) -> None:
    parameter, unit = _rounds(recipe)
    total = int(estimator.get_params()[parameter])
    # Each step of a boosting bins the rows again, a step of a forest costs nothing but its trees.
    done, step = 0, int(estimator.get_params().get("n_jobs") or max(1, total // _CHUNKS))
    estimator.set_params(warm_start=True)
    while done < total:
        done = min(total, done + step)
        began = time.monotonic()
        estimator.set_params(**{parameter: done}).fit(matrix, values)
        if time.monotonic() - began < _CHUNK_SECONDS:
            step *= 2
        meter.rounds(unit, done, total)
    estimator.set_params(warm_start=False)


def _xgboost(
    recipe: Recipe, estimator: Estimator, matrix: Matrix, values: npt.NDArray[Any], meter: Meter
) -> None:
    from xgboost.callback import TrainingCallback

    parameter, unit = _rounds(recipe)
    total = int(estimator.get_params()[parameter])

    class Rounds(TrainingCallback):
        def after_iteration(self, _model: Any, epoch: int, _evals_log: Any) -> bool:
            meter.rounds(unit, epoch + 1, total)
            return False

    estimator.set_params(callbacks=[Rounds()]).fit(matrix, values)
    estimator.set_params(callbacks=None)


def _lightgbm(
    recipe: Recipe, estimator: Estimator, matrix: Matrix, values: npt.NDArray[Any], meter: Meter
) -> None:
    unit = _rounds(recipe)[1]

    def after_round(env: Any) -> None:
        meter.rounds(unit, env.iteration + 1, env.end_iteration)

    estimator.fit(matrix, values, callbacks=[after_round])


def _rounds(recipe: Recipe) -> tuple[str, str]:
    if recipe.rounds is None:
        raise AssertionError("a recipe that is fitted in rounds names them")
    return recipe.rounds
