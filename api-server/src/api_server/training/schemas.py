from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api_server.jobs.schemas import JobOptions
from platform_kit.contract.algorithms import Algorithm, Framework
from platform_kit.contract.artifact import Task
from platform_kit.contract.numbers import VersionNumberInJson

Parameters = Annotated[
    dict[str, Any], Field(description="see GET /api/v1/algorithms; `random_state` or `seed` sets the seed")
]
Preprocessing = Annotated[
    dict[str, Any],
    Field(description="`exclude`: columns left out; `scale`: true or false; `max_categories`: integer"),
]


class NewModelIn(BaseModel):
    """With `dataset_id`, training starts at once.

    What is left out is as the project's `config.training` says, else as the library has it.
    """

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra={
            "examples": [
                {
                    "name": "churn",
                    "model_type": "classification",
                    "framework": "lightgbm",
                    "dataset_id": "6f1c1c1e-6f0e-4c62-9a57-0a3e6f0b7a11",
                    "target": "left",
                    "parameters": {"n_estimators": 200, "learning_rate": 0.05},
                    "job": {"priority": 7, "time_limit_seconds": 600},
                },
                {
                    "name": "churn, to be trained later",
                    "model_type": "classification",
                    "framework": "xgboost",
                },
            ]
        },
    )

    name: str = Field(min_length=1, max_length=200)
    model_type: Task
    framework: Framework
    project_id: UUID | None = Field(
        default=None, description="left out: the dataset's project, or your personal one"
    )
    description: str = Field(default="", max_length=5000)
    tags: list[str] = Field(default_factory=list, max_length=50)
    dataset_id: UUID | None = None
    target: str | None = Field(
        default=None, max_length=500, description="left out: the project's, else the column named `target`"
    )
    algorithm: str | None = Field(
        default=None, description="left out: the project's, else `random_forest`, `xgboost` or `lightgbm`"
    )
    parameters: Parameters = Field(default_factory=dict)
    preprocessing: Preprocessing | None = Field(default=None, description="left out: the project's")
    job: JobOptions = Field(default_factory=JobOptions, description="how the training is run")


class TrainIn(BaseModel):
    """What is left out is as in the model's last training, else as the project's `config.training` says.

    `parameters` are laid over those of the last training with the same algorithm, one by one.
    """

    model_config = ConfigDict(extra="forbid")

    dataset_id: UUID | None = None
    dataset_version: VersionNumberInJson | None = Field(default=None, description="left out: the newest")
    target: str | None = Field(default=None, max_length=500)
    algorithm: str | None = None
    parameters: Parameters | None = None
    preprocessing: Preprocessing | None = None
    job: JobOptions = Field(default_factory=JobOptions, description="how the training is run")


class AlgorithmList(BaseModel):
    items: list[Algorithm]
    next_cursor: str | None = None
    total: int
