"""One loaded version that answers rows: the encoder, the model and the labels of one manifest."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ml_service.artifacts.labels import label_key
from ml_service.artifacts.model_files import load
from ml_service.artifacts.problems import CorruptArtifact
from ml_service.artifacts.scorers import Floats
from ml_service.features.encoder import Encoder, RowEncoder
from platform_kit.contract.artifact import Label, Manifest
from platform_kit.contract.inputs import Value

Answer: TypeAlias = tuple[Label, dict[str, float] | None]
"""A label and the probability of each class by `label_key`, or a number and None."""


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
        self._scorer = load(manifest, directory)
        if self._scorer.feature_count not in (None, len(encoder.features)):
            raise CorruptArtifact(
                f"The model reads {self._scorer.feature_count} columns, "
                f"but the encoder gives {len(encoder.features)}."
            )
        self._rows = RowEncoder(encoder)
        self._classes = manifest.classes
        self._keys = [label_key(label) for label in manifest.classes or []]

    def predict(self, rows: Sequence[Sequence[Value]]) -> list[Answer]:
        """Answer rows of checked values, in the contract's order; at least one row."""
        return self.predict_matrix(self._rows.encode_rows(rows))

    def predict_matrix(self, matrix: Floats) -> list[Answer]:
        scores = self._scorer.scores(matrix)
        if not np.isfinite(scores).all():
            raise ArithmeticError("the model gave a number that is not finite")
        if self._classes is None:
            return [(value, None) for value in scores.tolist()]
        winners = self._scorer.winners(matrix, scores).tolist()
        return [
            (self._classes[winner], dict(zip(self._keys, row, strict=True)))
            for winner, row in zip(winners, scores.tolist(), strict=True)
        ]
