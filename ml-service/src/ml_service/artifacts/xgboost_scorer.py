"""XGBoost without its Python wrapper's detours, which take longer than the trees themselves.

A single row goes through `TreeWalk`, many rows through the library's own function; both give the same numbers.
"""

import ctypes
import json
from typing import Any

import numpy as np

from ml_service.artifacts.scorers import ClassNumbers, Floats, likeliest
from ml_service.artifacts.tree_walk import Answers, TreeWalk
from platform_kit.contract.artifact import Task

_CONFIG = json.dumps(
    {
        "type": 0,
        "training": False,
        "iteration_begin": 0,
        "iteration_end": 0,
        "missing": float("nan"),
        "strict_shape": True,
        "cache_id": 0,
    }
).encode()
"""Source: XGBoost's C API, `XGBoosterPredictFromDense`. Type 0 is the transformed prediction."""


class XgboostScorer:
    def __init__(self, booster: Any, task: Task) -> None:
        from xgboost.core import _LIB, _check_call

        self.booster, self._task = booster, task
        self.feature_count: int | None = int(booster.num_features())
        self._walk = TreeWalk.of(booster)
        self._ask, self._check = _LIB.XGBoosterPredictFromDense, _check_call

    def scores(self, matrix: Floats) -> Floats:
        if len(matrix) == 1 and self._walk is not None:
            answer = self._walk.answer(matrix[0].astype(np.float32)).reshape(1, -1)
        else:
            answer = self._predict(np.ascontiguousarray(matrix))
        if self._task is Task.REGRESSION:
            answer = answer[:, 0]
        elif answer.shape[1] == 1:
            # In float32 as XGBClassifier does, and only then widened.
            answer = np.concatenate([np.float32(1.0) - answer, answer], axis=1)
        widened: Floats = answer.astype(np.float64)
        return widened

    def winners(self, matrix: Floats, scores: Floats) -> ClassNumbers:
        return likeliest(scores)

    def _predict(self, matrix: Floats) -> Answers:
        """Ask the library; its answer lies in memory of this thread's that the next call writes over."""
        shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        found = ctypes.POINTER(ctypes.c_float)()
        self._check(
            self._ask(
                self.booster.handle,
                _described(matrix),
                _CONFIG,
                None,
                ctypes.byref(shape),
                ctypes.byref(dimensions),
                ctypes.byref(found),
            )
        )
        answers: Answers = np.ctypeslib.as_array(found, shape=(shape[0], shape[1])).copy()
        return answers


def _described(matrix: Floats) -> bytes:
    interface = matrix.__array_interface__
    return json.dumps(
        {
            "data": [interface["data"][0], True],
            "strides": None,
            "typestr": interface["typestr"],
            "shape": list(matrix.shape),
            "version": 3,
        }
    ).encode()
