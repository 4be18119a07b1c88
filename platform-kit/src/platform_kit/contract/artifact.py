"""A model version: a manifest and native model files, named by what they hash to."""

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from pydantic import Field

from platform_kit.contract.base import Readable
from platform_kit.contract.inputs import InputContract, Policy
from platform_kit.contract.schema import Column

FORMAT_VERSION = 1

Label: TypeAlias = str | int | float | bool
"""A class as the dataset's JSON holds it."""


class Task(StrEnum):
    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class ArtifactFile(Readable):
    """name: what the loader looks for (`model.ubj`, `model.txt`, `model.skops`); key: where the object store has it."""

    name: str
    key: str
    sha256: str
    size_bytes: int


class Split(Readable):
    method: str = Field(
        description="`stratified`, or `random` for regression and for classes too small to stratify"
    )
    test_fraction: float
    train_rows: int
    test_rows: int
    dropped_rows: int = Field(default=0, description="rows without a target")


class GoldenRow(Readable):
    """A held-out row, and what the training library itself answered for it."""

    input: dict[str, Any]
    prediction: Label
    probabilities: dict[str, float] | None = None


class DatasetDigest(Readable):
    dataset_id: UUID | None
    version: int | None
    sha256: str


class Manifest(Readable):
    """All that is needed to load, check, explain and reproduce one model version."""

    format_version: int = FORMAT_VERSION
    created_at: datetime
    task: Task
    framework: str
    algorithm: str
    parameters: dict[str, Any]
    preprocessing: dict[str, Any] = Field(default_factory=dict)
    seed: int
    target: Column
    classes: list[Label] | None = None
    dataset: DatasetDigest
    split: Split
    libraries: dict[str, str]
    metrics: dict[str, float]
    evaluation: dict[str, Any] = Field(default_factory=dict)
    training_seconds: float
    contract: InputContract
    encoder: dict[str, Any] = Field(
        description="the fitted feature encoder; its own room reads and writes it"
    )
    files: list[ArtifactFile]
    golden_rows: list[GoldenRow]
    tolerance: float = Field(description="|a - b| <= tolerance * max(1, |b|) is equal")
    feature_means: list[float] | None = Field(
        default=None,
        description="of the encoder's columns over the training rows: what a linear model's explanation compares with",
    )

    def digest(self) -> str:
        """SHA-256 of everything that decides an answer; two equal trainings have the same one."""
        body = self.model_dump(mode="json", exclude={"created_at", "training_seconds", "evaluation"})
        for file in body["files"]:
            del file["key"]
        _leave_out_what_came_later(body)
        return hashlib.sha256(canonical_json(body)).hexdigest()


def _leave_out_what_came_later(body: dict[str, Any]) -> None:
    """A manifest that was written before a field existed keeps the digest by which it is known."""
    if body["feature_means"] is None:
        del body["feature_means"]
    if body["contract"]["on_unknown_field"] == Policy.REJECT:
        del body["contract"]["on_unknown_field"]
    for field in body["contract"]["fields"]:
        if field["typical"] is None:
            del field["typical"]


class ManifestRef(Readable):
    """key: the manifest's own object; sha256: of that object's bytes; digest: see `Manifest.digest`."""

    key: str
    sha256: str
    digest: str


def canonical_json(body: Any) -> bytes:
    """The one spelling of a JSON value that digests are taken of."""
    return json.dumps(
        body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def object_key(sha256: str) -> str:
    """Where an artifact with this content is stored."""
    return f"artifacts/{sha256[:2]}/{sha256}"
