"""Explain the answers of one loaded version."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ml_service.artifacts.predictor import Predictor
from ml_service.artifacts.scorers import ClassNumbers, Floats, LightgbmScorer, LinearScorer
from ml_service.artifacts.xgboost_scorer import XgboostScorer
from ml_service.explanations.attribution import Attribution, Method
from ml_service.explanations.linear import LinearMethod
from ml_service.explanations.reasons import reasons_of
from ml_service.explanations.sampled import SampledMethod
from ml_service.explanations.trees import LightgbmMethod, XgboostMethod
from platform_kit.contract.artifact import Label, Manifest
from platform_kit.contract.inputs import RowChecker, Value
from platform_kit.contract.prediction import Explanation


class Explainer:
    """Thread-safe; holds no state of a request. Costs nothing until something is explained."""

    def __init__(self, manifest: Manifest, predictor: Predictor) -> None:
        self._manifest, self._predictor = manifest, predictor

    @property
    def is_exact(self) -> bool:
        """Whether the model's own structure says it all, which is also quick."""
        return isinstance(self._predictor.scorer, XgboostScorer | LightgbmScorer | LinearScorer)

    def explain(
        self,
        rows: Sequence[Sequence[Value]],
        matrix: Floats,
        *,
        explained: Sequence[int] | None = None,
    ) -> list[Explanation]:
        """Explain rows of checked values, in the contract's order; at least one row.

        matrix: the same rows, encoded. explained: the number of each row's class whose score is explained, where
        the answer is not the model's likeliest class. Raises NotExplainable.
        """
        classes = self._explained(matrix, explained)
        found = self._method.attributions(matrix, classes)
        return [
            self._explanation(values, attribution, None if classes is None else int(classes[number]))
            for number, (values, attribution) in enumerate(zip(rows, found, strict=True))
        ]

    def _explained(self, matrix: Floats, explained: Sequence[int] | None) -> ClassNumbers | None:
        if self._predictor.classes is None:
            return None
        if explained is not None:
            return np.asarray(explained, dtype=np.intp)
        scorer = self._predictor.scorer
        return scorer.winners(matrix, scorer.scores(matrix))

    def _explanation(
        self, values: Sequence[Value], attribution: Attribution, number: int | None
    ) -> Explanation:
        label, method, contract = self._label(number), self._method, self._manifest.contract
        return Explanation(
            method=method.name,
            is_exact=method.is_exact,
            explains=label,
            scale=method.scale,
            base_value=attribution.base,
            raw_score=attribution.raw,
            contributions=dict(zip(contract.names, attribution.contributions, strict=True)),
            reasons=reasons_of(
                contract.fields,
                values,
                attribution.contributions,
                scale=method.scale,
                subject=self._manifest.target.name if label is None else label,
            ),
            note=attribution.note,
        )

    def _label(self, number: int | None) -> Label | None:
        classes = self._predictor.classes
        return None if number is None or classes is None else classes[number]

    @cached_property
    def _method(self) -> Method:
        """Two threads may make it at the same time: both make the same. Raises NotExplainable."""
        scorer, task = self._predictor.scorer, self._manifest.task
        blocks = self._predictor.encoder.blocks
        if isinstance(scorer, XgboostScorer):
            return XgboostMethod(scorer, task, blocks=blocks)
        if isinstance(scorer, LightgbmScorer):
            return LightgbmMethod(scorer, task, blocks=blocks)
        if isinstance(scorer, LinearScorer):
            return LinearMethod(scorer, task, means=self._manifest.feature_means, blocks=blocks)
        return SampledMethod(scorer, task, background=self._background(), blocks=blocks)

    def _background(self) -> Floats:
        """The golden rows, encoded."""
        checker = RowChecker(self._manifest.contract)
        checked = [checker.check(each.input, pointer=()) for each in self._manifest.golden_rows]
        return self._predictor.encode([each.values for each in checked if not each.errors])
