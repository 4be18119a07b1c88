"""A project's own JSON. One key means something to the platform: `training`, what its trainings take by default."""

import difflib
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from platform_kit.contract.algorithms import (
    ALGORITHMS,
    MAX_SEED,
    SEED_ALIASES,
    Algorithm,
    Framework,
    UnknownAlgorithm,
    check_parameters,
    find_algorithm,
)
from platform_kit.contract.artifact import Task, canonical_json
from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shown

MAX_BYTES = 64 * 1024
MAX_LEVELS = 16
_TRAINING = ("config", "training")

ColumnName = Annotated[str, Field(min_length=1, max_length=500)]


class PreprocessingDefaults(BaseModel):
    model_config = ConfigDict(extra="forbid")

    exclude: list[ColumnName] | None = Field(default=None, description="columns left out")
    scale: bool | None = Field(default=None, strict=True)
    max_categories: int | None = Field(default=None, ge=1, le=1000, strict=True)


class TrainingDefaults(BaseModel):
    """What a training in this project takes where the request, and the model's last training, say nothing."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "target": "left",
                    "seed": 7,
                    "algorithms": {"scikit-learn": "hist_gradient_boosting"},
                    "parameters": {"xgboost": {"max_depth": 4}},
                }
            ]
        },
    )

    target: ColumnName | None = None
    preprocessing: PreprocessingDefaults | None = None
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, strict=True)
    algorithms: dict[str, str] = Field(
        default_factory=dict,
        description="framework: algorithm; one that does not know the task is passed over",
    )
    parameters: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="algorithm: {parameter: value}; see GET /api/v1/algorithms"
    )

    def algorithm_for(self, framework: Framework, task: Task) -> str | None:
        name = self.algorithms.get(framework)
        return name if name is not None and _fits(name, framework, task) else None

    def parameters_for(self, algorithm: str) -> dict[str, Any]:
        seed = {} if self.seed is None else {"seed": self.seed}
        return seed | with_one_seed(self.parameters.get(algorithm, {}))

    def preprocessing_asked(self) -> dict[str, Any]:
        return self.preprocessing.model_dump(mode="json", exclude_none=True) if self.preprocessing else {}


class ProjectConfig(BaseModel):
    """Any JSON object, at most 64 KB and 16 levels deep. `training` holds defaults; every other key is yours."""

    model_config = ConfigDict(extra="allow")

    training: TrainingDefaults | None = Field(
        default=None,
        description="defaults of POST /models and POST /models/{id}/train: a value in the request wins, then what the "
        "model was last trained with, then this, then the library's; parameters are merged one by one",
    )

    @model_validator(mode="before")
    @classmethod
    def _is_small(cls, raw: object) -> object:
        if _levels(raw) > MAX_LEVELS:
            raise ValueError(f"JSON of at most {MAX_LEVELS} levels")
        if isinstance(raw, dict) and len(canonical_json(raw)) > MAX_BYTES:
            raise PydanticCustomError("too_long", f"at most {MAX_BYTES} bytes of JSON")
        return raw

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Self:
        """What was stored before a rule was tightened gives no defaults, and can be mended by PATCH."""
        try:
            return cls.model_validate(stored)
        except ValidationError:
            return cls()

    def as_stored(self) -> dict[str, Any]:
        """As it was sent."""
        return self.model_dump(mode="json", exclude_unset=True)

    def issues(self) -> list[Issue]:
        """What is wrong with names of algorithms and with parameters; types have been looked at before."""
        if self.training is None:
            return []
        found = [_algorithm_issue(*each) for each in self.training.algorithms.items()]
        issues = [each for each in found if each is not None]
        for name, parameters in self.training.parameters.items():
            issues += _parameter_issues(name, parameters)
        return issues


def with_one_seed(parameters: dict[str, Any]) -> dict[str, Any]:
    """The seed under one of its names, so that layers of parameters can be laid over each other."""
    return {("seed" if name in SEED_ALIASES else name): value for name, value in parameters.items()}


def _levels(value: object) -> int:
    match value:
        case dict():
            return 1 + max(map(_levels, value.values()), default=0)
        case list():
            return 1 + max(map(_levels, value), default=0)
        case _:
            return 0


def _fits(name: str, framework: Framework, task: Task) -> bool:
    try:
        find_algorithm(name, framework=framework, task=task)
    except UnknownAlgorithm:
        return False
    return True


def _algorithm_issue(framework: str, name: str) -> Issue | None:
    if framework not in list(Framework):
        return _unknown(("algorithms", framework), framework, list(Framework))
    if any(_fits(name, Framework(framework), task) for task in Task):
        return None
    return _unknown(
        ("algorithms", framework), name, [each.name for each in ALGORITHMS if each.framework == framework]
    )


def _parameter_issues(name: str, parameters: dict[str, Any]) -> list[Issue]:
    algorithm = _named(name)
    if algorithm is None:
        return [_unknown(("parameters", name), name, [each.name for each in ALGORITHMS])]
    return check_parameters(algorithm, parameters, pointer=(*_TRAINING, "parameters", name))[2]


def _named(name: str) -> Algorithm | None:
    return next((each for each in ALGORITHMS if each.name == name), None)


def _unknown(where: tuple[str, ...], got: str, valid: list[str]) -> Issue:
    near = difflib.get_close_matches(got, valid, n=1)
    return Issue(
        pointer=pointer_to(*_TRAINING, *where),
        field=where[-1],
        code=IssueCode.UNKNOWN_VALUE,
        got=shown(got),
        expected=f"one of: {', '.join(valid)}",
        hint=f"did you mean `{near[0]}`?" if near else None,
    )
