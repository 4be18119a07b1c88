"""One loaded version that answers rows: the encoder, the model and the labels of one manifest."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from ml_service.artifacts.model_files import load
from ml_service.artifacts.problems import CorruptArtifact
from ml_service.artifacts.scorers import Floats
from ml_service.features.encoder import Encoder, RowEncoder
from platform_kit.contract.artifact import Label, Manifest
from platform_kit.contract.inputs import Value
from platform_kit.contract.labels import label_key

Answer: TypeAlias = tuple[Label, dict[str, float] | None]
"""A label and the probability of each class by `label_key`, or a number and None."""


class Scored(NamedTuple):
    """All that a model says of one row. winner: the number of the class, None for regression; scores: the probability
    of each class, or the one predicted number."""

    winner: int | None
    scores: list[float]


class NoFiniteAnswer(ArithmeticError):
    """The model gave a number that is not finite."""


class Predictor:
    """Thread-safe; holds no state of a request. Load it off the event loop: that takes up to seconds."""

    def __init__(self, manifest: Manifest, directory: Path) -> None:
        """directory: holds the manifest's files, already verified. Raises CorruptArtifact."""
        try:
            encoder = Encoder.from_json(manifest.encoder)
        except ValueError as error:
            raise CorruptArtifact(
                "The manifest's encoder has a form that this version does not know."
            ) from error
        if encoder.names != manifest.contract.names:
            raise CorruptArtifact("The manifest's encoder and its input contract name different columns.")
        self.encoder = encoder
        self.scorer = load(manifest, directory)
        if self.scorer.feature_count not in (None, len(encoder.features)):
            raise CorruptArtifact(
                f"The model reads {self.scorer.feature_count} columns, "
                f"but the encoder gives {len(encoder.features)}."
            )
        self._rows = RowEncoder(encoder)
        self.classes = manifest.classes
        self.class_keys = [label_key(label) for label in manifest.classes or []]

    def encode(self, rows: Sequence[Sequence[Value]]) -> Floats:
        """Encode rows of checked values, in the contract's order: (n_rows, n_features)."""
        return self._rows.encode_rows(rows)

    def score(self, matrix: Floats) -> list[Scored]:
        """Answer encoded rows, at least one. Raises NoFiniteAnswer."""
        scores = self.scorer.scores(matrix)
        if not np.isfinite(scores).all():
            raise NoFiniteAnswer("the model gave a number that is not finite")
        if self.classes is None:
            return [Scored(None, [value]) for value in scores.tolist()]
        winners = self.scorer.winners(matrix, scores).tolist()
        return [Scored(winner, row) for winner, row in zip(winners, scores.tolist(), strict=True)]

    def predict(self, rows: Sequence[Sequence[Value]]) -> list[Answer]:
        """Answer rows of checked values, in the contract's order; at least one row."""
        return [self._answer(each) for each in self.score(self.encode(rows))]

    def _answer(self, scored: Scored) -> Answer:
        if self.classes is None or scored.winner is None:
            return scored.scores[0], None
        return self.classes[scored.winner], dict(zip(self.class_keys, scored.scores, strict=True))
