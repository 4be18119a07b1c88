"""One row through all trees of an XGBoost model at once, level by level.

For a single row the library spends most of its time on preparing, and on branches that no processor can guess. Here
each level of all trees is a few operations on short arrays. Sums are of float32 in the library's order, and the last
steps are its own, so the numbers are too: that is tried when a model is loaded. Where they are not, or where a model
has something that is not known here, the library answers.
"""

import ctypes
import ctypes.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Row = npt.NDArray[np.float32]

_TRIED_ROWS = 256
_SEED = 20_260

_libm = ctypes.CDLL(ctypes.util.find_library("m"))
_libm.expf.argtypes, _libm.expf.restype = [ctypes.c_float], ctypes.c_float
"""The function that the library calls: numpy's differs from it in the last bit."""

Answers = npt.NDArray[np.float32]
Finish = Callable[[Answers], Answers]


def _as_it_is(margins: Answers) -> Answers:
    return margins


def _of_two_classes(margins: Answers) -> Answers:
    """Source: XGBoost's `common::Sigmoid`."""
    size = np.float32(_libm.expf(min(-float(margins[0]), 88.7)))
    return np.array([np.float32(1.0) / (size + np.float32(1.0))], dtype=np.float32)


def _of_classes(margins: Answers) -> Answers:
    """Source: XGBoost's `common::Softmax`: the sizes are added up in float64."""
    sizes = [_libm.expf(each) for each in (margins - margins.max()).tolist()]
    return np.array(sizes, dtype=np.float32) / np.float32(sum(sizes))


_FINISHES: dict[str, Finish] = {
    "reg:squarederror": _as_it_is,
    "binary:logistic": _of_two_classes,
    "multi:softprob": _of_classes,
}
"""From margins to answers, by the objective of the training."""


@dataclass(frozen=True, slots=True)
class TreeWalk:
    """All nodes of all trees in a row, siblings side by side; a leaf is its own left child.

    roots: (n_trees,); feature, threshold, left, default_left, value: (n_nodes,); base: (n_outputs,).
    """

    roots: npt.NDArray[np.intp]
    feature: npt.NDArray[np.intp]
    threshold: npt.NDArray[np.float32]
    left: npt.NDArray[np.intp]
    goes_right_if_missing: npt.NDArray[np.bool_]
    value: npt.NDArray[np.float32]
    depth: int
    base: npt.NDArray[np.float32]
    finish: Finish

    @classmethod
    def of(cls, booster: Any) -> Self | None:
        """None for a model with something that is not known here."""
        model = json.loads(booster.save_raw("json"))["learner"]
        trees = model["gradient_booster"].get("model", {}).get("trees")
        outputs = max(1, int(model["learner_model_param"]["num_class"]))
        finish = _FINISHES.get(model["objective"]["name"])
        has_texts = any(any(each["split_type"]) for each in trees or ())
        if not trees or finish is None or has_texts or len(trees) % outputs:
            return None
        walk = cls._built(trees, _base(model, outputs), finish)
        return walk if walk._agrees_with(booster) else None

    @classmethod
    def _built(cls, trees: list[dict[str, Any]], base: npt.NDArray[np.float32], finish: Finish) -> Self:
        nodes = _Nodes()
        roots = [nodes.add(tree) for tree in trees]
        return cls(
            roots=np.array(roots, dtype=np.intp),
            feature=np.array(nodes.feature, dtype=np.intp),
            threshold=np.array(nodes.threshold, dtype=np.float32),
            left=np.array(nodes.left, dtype=np.intp),
            goes_right_if_missing=np.array(nodes.goes_right_if_missing, dtype=np.bool_),
            value=np.array(nodes.value, dtype=np.float32),
            depth=nodes.depth,
            base=base,
            finish=finish,
        )

    def answer(self, row: Row) -> Answers:
        """What the library answers for a row: (n_outputs,)."""
        return self.finish(self._margins(row))

    def _margins(self, row: Row) -> Answers:
        """The sums of the leaves that the row reaches."""
        at = self.roots
        has_gaps = bool(np.isnan(row).any())
        for _ in range(self.depth):
            cells = row.take(self.feature.take(at))
            goes_right = cells >= self.threshold.take(at)
            if has_gaps:
                goes_right = np.where(np.isnan(cells), self.goes_right_if_missing.take(at), goes_right)
            at = self.left.take(at) + goes_right
        leaves = self.value.take(at).reshape(-1, len(self.base))
        # One after the other, as the library adds them: numpy's sum would add in pairs.
        sums: Answers = np.add.accumulate(np.vstack([self.base, leaves]), axis=0)[-1]
        return sums

    def _agrees_with(self, booster: Any) -> bool:
        """On rows near the model's own thresholds, with gaps, to the last bit."""
        random = np.random.default_rng(_SEED)
        shape = (_TRIED_ROWS, booster.num_features())
        inner = self.threshold[np.isfinite(self.threshold)]
        rows = random.choice(inner, shape) if inner.size else np.zeros(shape, dtype=np.float32)
        rows = np.where(random.random(shape) < 0.1, np.float32(np.nan), rows).astype(np.float32)
        expected = booster.inplace_predict(rows, validate_features=False)
        found = np.stack([self.answer(row) for row in rows])
        return bool(np.array_equal(found, expected.reshape(_TRIED_ROWS, -1)))


class _Nodes:
    def __init__(self) -> None:
        self.feature: list[int] = []
        self.threshold: list[float] = []
        self.left: list[int] = []
        self.goes_right_if_missing: list[bool] = []
        self.value: list[float] = []
        self.depth = 0

    def add(self, tree: dict[str, Any]) -> int:
        """Append a tree's nodes; returns its root's place."""
        root = self._room(1)
        waiting = [(0, root, 0)]
        while waiting:
            node, place, depth = waiting.pop()
            self.depth = max(self.depth, depth)
            if tree["left_children"][node] == -1:
                self.value[place] = tree["split_conditions"][node]
                continue
            pair = self._room(2)
            self.feature[place] = tree["split_indices"][node]
            self.threshold[place] = tree["split_conditions"][node]
            self.left[place] = pair
            self.goes_right_if_missing[place] = not tree["default_left"][node]
            waiting.append((tree["left_children"][node], pair, depth + 1))
            waiting.append((tree["right_children"][node], pair + 1, depth + 1))
        return root

    def _room(self, count: int) -> int:
        """Places for nodes that are leaves until they are told otherwise."""
        first = len(self.feature)
        for place in range(first, first + count):
            self.feature.append(0)
            self.threshold.append(np.inf)
            self.left.append(place)
            self.goes_right_if_missing.append(False)
            self.value.append(0.0)
        return first


def _base(model: dict[str, Any], outputs: int) -> npt.NDArray[np.float32]:
    """The margin before the first tree; the file has it as a probability, where it is one."""
    stated = model["learner_model_param"]["base_score"]
    base = np.array(json.loads(stated) if stated.startswith("[") else [float(stated)], dtype=np.float32)
    if model["objective"]["name"] == "binary:logistic":
        base = -np.log(np.float32(1.0) / base - np.float32(1.0))
    return np.broadcast_to(base, (outputs,)).astype(np.float32)
