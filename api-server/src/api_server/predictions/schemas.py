from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api_server.predictions.models import PredictionRecord
from platform_kit.contract.moments import Moment
from platform_kit.contract.numbers import VersionNumber
from platform_kit.contract.prediction import Prediction, PredictionRequest


class PredictIn(PredictionRequest):
    """As ml-service takes it, and the model's id or endpoint name beside it."""

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={
            "examples": [
                {
                    "model_id": "demo_model_1",
                    "input_data": {"feature1": 0.5, "feature2": 1.2, "feature3": -0.3, "feature4": 2.0},
                    "return_probabilities": True,
                }
            ]
        },
    )

    model_id: str = Field(min_length=1, max_length=200, description="a model's id or its endpoint's name")


class PredictionFilter(BaseModel):
    """Parameters of a query; all that are given have to hold."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_id: str | None = Field(default=None, description="a model's id or its endpoint's name")
    model_version: VersionNumber | None = None
    project_id: UUID | None = Field(default=None, description="of the model")
    user_id: UUID | None = Field(default=None, description="for administrators: whose; left out: everybody's")
    since: Moment | None = Field(default=None, description="at this moment or later")
    until: Moment | None = Field(default=None, description="before this moment")
    prediction: str | None = Field(
        default=None, description="exactly this answer, spelt as a key of `probabilities`: `yes`, `1`, `true`"
    )
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    max_confidence: float | None = Field(default=None, ge=0, le=1)
    warned: bool | None = Field(default=None, description="whether the answer came with warnings")


class RecordOut(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    prediction_id: UUID
    model_id: str
    model_version: int
    user_id: UUID
    input_data: dict[str, Any]
    answer: Prediction
    created_at: datetime


def record_out(record: PredictionRecord) -> RecordOut:
    return RecordOut(
        prediction_id=record.id,
        model_id=record.model_id,
        model_version=record.model_version,
        user_id=record.user_id,
        input_data=record.input_data,
        answer=Prediction.model_validate(record.answer),
        created_at=record.created_at,
    )
