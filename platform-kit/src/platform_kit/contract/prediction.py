"""The public shapes of a prediction; both services answer with them."""

from datetime import datetime
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


class PredictionMetadata(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_version: int
    digest: str = Field(description="of the version's manifest: names exactly what answered")
    cache_used: bool
    warnings: list[Issue]


class Prediction(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    prediction: Label
    confidence_score: float | None = Field(description="the largest class probability; null for regression")
    probabilities: dict[str, float] | None
    processing_time: float = Field(description="milliseconds")
    timestamp: datetime
    prediction_id: str
    metadata: PredictionMetadata


class BatchItem(BaseModel):
    prediction: Label
    confidence_score: float | None
    probabilities: dict[str, float] | None
    prediction_id: str


class BatchPrediction(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    model_id: str
    predictions: list[BatchItem]
    total_processing_time: float = Field(description="milliseconds")
    average_time_per_prediction: float = Field(description="milliseconds")
    metadata: PredictionMetadata
