"""From what the model says to what is answered: the options of a deployment, applied to one scored row."""

from collections.abc import Sequence
from typing import NamedTuple

from ml_service.artifacts.predictor import Scored
from platform_kit.contract.artifact import Label
from platform_kit.contract.labels import label_key
from platform_kit.contract.serving_options import ServingOptions


class Finished(NamedTuple):
    """probabilities, confidence: None for regression."""

    prediction: Label | None
    confidence: float | None
    probabilities: dict[str, float] | None
    abstained: bool = False


class Finishing:
    def __init__(self, options: ServingOptions, classes: Sequence[Label] | None) -> None:
        self._options = options
        self._own_keys = [label_key(each) for each in classes or []]
        self.labels = [
            options.labels.get(key, label) for key, label in zip(self._own_keys, classes or [], strict=True)
        ]
        self._keys = [label_key(each) for each in self.labels]
        self._has_merged = len(set(self._keys)) < len(self._keys)
        self._positive = self._positive_class()

    def finished(self, scored: Scored) -> Finished:
        if scored.winner is None:
            return Finished(self._rounded(scored.scores[0]), None, None)
        winner, confidence = self._decided(scored.winner, scored.scores)
        probabilities = self._by_label(scored.scores)
        limit = self._options.abstain_below
        if limit is not None and confidence < limit:
            return Finished(
                self._options.abstain_answer, self._rounded(confidence), probabilities, abstained=True
            )
        return Finished(self.labels[winner], self._rounded(confidence), probabilities)

    def winner(self, scored: Scored) -> int | None:
        """The class that is answered; None for regression."""
        return None if scored.winner is None else self._decided(scored.winner, scored.scores)[0]

    def _decided(self, winner: int, scores: list[float]) -> tuple[int, float]:
        """The class, and how sure the model is of it."""
        threshold = self._options.threshold
        if threshold is None:
            return winner, max(scores)
        winner = self._positive if scores[self._positive] >= threshold else 1 - self._positive
        return winner, scores[winner]

    def _by_label(self, scores: list[float]) -> dict[str, float]:
        """Classes that are answered alike count together."""
        if not self._has_merged:
            pairs = zip(self._keys, scores, strict=True)
            if self._options.decimals is None:
                return dict(pairs)
            return {key: self._rounded(score) for key, score in pairs}
        sums = dict.fromkeys(self._keys, 0.0)
        for key, score in zip(self._keys, scores, strict=True):
            sums[key] += score
        return {key: self._rounded(score) for key, score in sums.items()}

    def _rounded(self, value: float) -> float:
        return value if self._options.decimals is None else round(value, self._options.decimals)

    def _positive_class(self) -> int:
        if self._options.positive_class is None:
            return 1
        return self._own_keys.index(label_key(self._options.positive_class))
