"""The public shapes of a prediction; both services answer with them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool
from pydantic.config import JsonDict

from platform_kit.contract.artifact import Label
from platform_kit.contract.problem import Issue

MAX_BATCH_ROWS = 10_000

_EXAMPLE_ROW: JsonDict = {"feature1": 0.5, "feature2": 1.2, "feature3": -0.3, "feature4": 2.0}


class PredictionRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"input_data": _EXAMPLE_ROW}]})

    input_data: dict[str, Any] = Field(description="one row: feature name to value, in any order")
    return_probabilities: StrictBool = False
    use_cache: StrictBool = True
    explain: StrictBool = False


class BatchRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"inputs": [_EXAMPLE_ROW]}]})

    inputs: list[dict[str, Any]] = Field(min_length=1, max_length=MAX_BATCH_ROWS)
    return_probabilities: StrictBool = False
    use_cache: StrictBool = True
    explain: StrictBool = Field(
        default=False, description="of up to 1000 rows; 20 where it is an approximation"
    )


class ExplanationMethod(StrEnum):
    TREE_SHAP = "tree_shap"
    """Exact, by the training library itself."""
    LINEAR = "linear"
    """Exact: coefficient times distance from the training mean."""
    SAMPLED_SHAPLEY = "sampled_shapley"
    """An approximation that works with every model: rows mixed with held-out ones, column by column."""


class Scale(StrEnum):
    LOG_ODDS = "log_odds"
    PROBABILITY = "probability"
    TARGET = "target"


class Explanation(BaseModel):
    """Why this answer: `base_value` plus all contributions is `raw_score`."""

    method: ExplanationMethod
    is_exact: bool
    explains: Label | None = Field(description="the class whose score is explained; null for regression")
    scale: Scale = Field(description="of base_value, contributions and raw_score")
    base_value: float = Field(description="the score of a row about which nothing is known")
    raw_score: float
    contributions: dict[str, float] = Field(description="of each column of the dataset")
    reasons: list[str] = Field(description="the largest contributions in words, the largest first")
    note: str | None = Field(default=None, description="how far it can be trusted, if it is not exact")


class PredictionMetadata(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_version: int
    digest: str = Field(description="of the version's manifest: names exactly what answered")
    cache_used: bool
    warnings: list[Issue]
    abstained: bool = Field(default=False, description="the confidence was below the deployment's limit")
    cache_hits: int | None = Field(default=None, description="of a batch: how many rows came from the cache")


class Prediction(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    prediction: Label | None = Field(description="null only where the deployment abstains")
    confidence_score: float | None = Field(description="the largest class probability; null for regression")
    probabilities: dict[str, float] | None
    processing_time: float = Field(description="milliseconds")
    timestamp: datetime
    prediction_id: str
    metadata: PredictionMetadata
    explanation: Explanation | None = Field(default=None, description="with `explain` only")
    outputs: dict[str, Label | None] | None = Field(
        default=None, description="the prediction under the name that the deployment gives it"
    )


class BatchItem(BaseModel):
    prediction: Label | None
    confidence_score: float | None
    probabilities: dict[str, float] | None
    prediction_id: str
    abstained: bool = False
    explanation: Explanation | None = None
    outputs: dict[str, Label | None] | None = None


class BatchPrediction(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    predictions: list[BatchItem]
    total_processing_time: float = Field(description="milliseconds")
    average_time_per_prediction: float = Field(description="milliseconds")
    metadata: PredictionMetadata
