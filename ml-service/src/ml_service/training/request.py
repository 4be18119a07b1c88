"""What a training asks for: is it something that the platform can train?"""

from dataclasses import dataclass
from typing import Any

from ml_service.training.algorithms import RECIPES, Recipe
from ml_service.training.problems import InvalidParameters, UnknownTraining
from platform_kit.contract.algorithms import (
    SEED_ALIASES,
    Algorithm,
    Framework,
    UnknownAlgorithm,
    check_parameters,
    find_algorithm,
)
from platform_kit.contract.artifact import Task
from platform_kit.contract.jobs import TrainSpec
from platform_kit.contract.problem import Issue, IssueCode, shown


@dataclass(frozen=True, slots=True)
class Request:
    """parameters: every parameter of the algorithm's table, with its value."""

    algorithm: Algorithm
    recipe: Recipe
    parameters: dict[str, Any]
    seed: int


def understood(spec: TrainSpec) -> Request:
    """A seed among the parameters goes before the job's own. Raises UnknownTraining, InvalidParameters."""
    algorithm = _algorithm(spec)
    values, seed, issues = check_parameters(algorithm, spec.parameters)
    if spec.task is Task.REGRESSION and values.get("class_weight") is not None:
        issues.append(_weights_without_classes(values["class_weight"]))
    if issues:
        wrong = ", ".join(dict.fromkeys(each.field or each.pointer for each in issues))
        raise InvalidParameters(f"Please mend the parameters {wrong} of {algorithm.name}.", errors=issues)
    names_seed = any(alias in spec.parameters for alias in SEED_ALIASES)
    return Request(algorithm, RECIPES[algorithm.name], values, seed if names_seed else spec.seed)


def _algorithm(spec: TrainSpec) -> Algorithm:
    try:
        framework = Framework(spec.framework)
    except ValueError as error:
        listed = ", ".join(Framework)
        raise UnknownTraining(
            f"There is no framework {shown(spec.framework)}; valid are: {listed}."
        ) from error
    try:
        return find_algorithm(spec.algorithm, framework=framework, task=spec.task)
    except UnknownAlgorithm as error:
        raise UnknownTraining(str(error)) from error


def _weights_without_classes(value: object) -> Issue:
    return Issue(
        pointer="/parameters/class_weight",
        field="class_weight",
        code=IssueCode.UNKNOWN_VALUE,
        got=shown(value),
        expected="null",
        hint="class weights are for classification",
    )
