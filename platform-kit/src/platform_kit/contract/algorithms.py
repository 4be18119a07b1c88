"""The algorithms that can be trained, and each one's parameters: a table that api-server checks and ml-service obeys.

Names and defaults are the libraries' own, so that their documentation applies.
"""

import difflib
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import Field

from platform_kit.contract.artifact import Task
from platform_kit.contract.base import Readable
from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shown

SEED_ALIASES = ("random_state", "seed")
MAX_SEED = 2**31 - 1


class Framework(StrEnum):
    SCIKIT_LEARN = "scikit-learn"
    XGBOOST = "xgboost"
    LIGHTGBM = "lightgbm"


class ParameterType(StrEnum):
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    INTEGERS = "integers"
    """A list of integers, such as the widths of hidden layers."""


class Parameter(Readable):
    """One parameter. minimum and maximum are inclusive; a nullable one takes null for "no limit"."""

    name: str
    type: ParameterType
    default: Any
    minimum: float | None = None
    maximum: float | None = None
    choices: list[str] | None = None
    nullable: bool = False
    unit: str | None = None
    description: str = ""


class Algorithm(Readable):
    name: str
    framework: Framework
    tasks: list[Task]
    description: str
    reports_rounds: bool = Field(description="whether progress comes from the library's own rounds or trees")
    parameters: list[Parameter]


class UnknownAlgorithm(ValueError):
    """The sentence lists the valid names."""


def default_algorithm(framework: Framework) -> str:
    return {
        Framework.SCIKIT_LEARN: "random_forest",
        Framework.XGBOOST: "xgboost",
        Framework.LIGHTGBM: "lightgbm",
    }[framework]


def find_algorithm(name: str, *, framework: Framework, task: Task) -> Algorithm:
    """Look an algorithm up; it must belong to the framework and know the task."""
    fitting = [each for each in ALGORITHMS if each.framework is framework and task in each.tasks]
    for algorithm in fitting:
        if algorithm.name == name:
            return algorithm
    valid = ", ".join(each.name for each in fitting)
    raise UnknownAlgorithm(f"{framework} has no algorithm {name!r} for {task}; valid are: {valid}.")


def check_parameters(
    algorithm: Algorithm, parameters: Mapping[str, Any], *, pointer: tuple[str, ...] = ("parameters",)
) -> tuple[dict[str, Any], int, list[Issue]]:
    """Return (every parameter with its value, the seed, what is wrong); with issues, the values mean nothing."""
    known = {each.name: each for each in algorithm.parameters}
    values = {each.name: each.default for each in algorithm.parameters}
    seed, issues = 0, []
    for name, raw in parameters.items():
        where = pointer_to(*pointer, name)
        if name in SEED_ALIASES:
            if not _is_integer(raw) or not 0 <= raw <= MAX_SEED:
                issues.append(
                    _issue(where, name, IssueCode.OUT_OF_RANGE, raw, f"an integer from 0 to {MAX_SEED}")
                )
            else:
                seed = int(raw)
        elif name not in known:
            issues.append(_unknown(where, name, raw, algorithm))
        else:
            issue = _check(known[name], raw, where)
            if issue is not None:
                issues.append(issue)
            values[name] = raw
    return values, seed, issues


def _issue(where: str, name: str, code: IssueCode, raw: Any, expected: str, hint: str | None = None) -> Issue:
    return Issue(pointer=where, field=name, code=code, got=shown(raw), expected=expected, hint=hint)


def _unknown(where: str, name: str, raw: Any, algorithm: Algorithm) -> Issue:
    names = [each.name for each in algorithm.parameters] + ["seed"]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean `{near[0]}`?" if near else None
    return _issue(where, name, IssueCode.UNKNOWN_FIELD, raw, f"one of: {', '.join(names)}", hint)


def _is_integer(raw: Any) -> bool:
    return isinstance(raw, int) and not isinstance(raw, bool)


def _is_number(raw: Any) -> bool:
    return isinstance(raw, int | float) and not isinstance(raw, bool) and math.isfinite(raw)


def _check(parameter: Parameter, raw: Any, where: str) -> Issue | None:
    if raw is None and parameter.nullable:
        return None
    if not _has_type(parameter, raw):
        return _issue(where, parameter.name, IssueCode.WRONG_TYPE, raw, _described(parameter))
    if parameter.choices is not None and raw not in parameter.choices:
        return _issue(where, parameter.name, IssueCode.UNKNOWN_VALUE, raw, _described(parameter))
    numbers = raw if isinstance(raw, list) else [raw]
    if any(_is_number(each) and _is_outside(parameter, each) for each in numbers):
        return _issue(where, parameter.name, IssueCode.OUT_OF_RANGE, raw, _described(parameter))
    return None


def _has_type(parameter: Parameter, raw: Any) -> bool:
    match parameter.type:
        case ParameterType.INTEGER:
            return _is_integer(raw)
        case ParameterType.DECIMAL:
            return _is_number(raw)
        case ParameterType.BOOLEAN:
            return isinstance(raw, bool)
        case ParameterType.CHOICE:
            return isinstance(raw, str)
        case ParameterType.INTEGERS:
            return isinstance(raw, list) and 0 < len(raw) <= 8 and all(_is_integer(each) for each in raw)


def _is_outside(parameter: Parameter, value: float) -> bool:
    below = parameter.minimum is not None and value < parameter.minimum
    return below or (parameter.maximum is not None and value > parameter.maximum)


def _described(parameter: Parameter) -> str:
    text = f"one of: {', '.join(parameter.choices)}" if parameter.choices else str(parameter.type)
    if parameter.minimum is not None or parameter.maximum is not None:
        low = "" if parameter.minimum is None else f" from {parameter.minimum:g}"
        high = "" if parameter.maximum is None else f" to {parameter.maximum:g}"
        text += low + high
    return f"{text} or null" if parameter.nullable else text


def _int(
    name: str, default: int | None, low: int, high: int, text: str = "", unit: str | None = None
) -> Parameter:
    return Parameter(
        name=name, type=ParameterType.INTEGER, default=default, minimum=low, maximum=high,
        nullable=default is None, unit=unit, description=text,
    )  # fmt: skip


def _dec(name: str, default: float | None, low: float, high: float | None, text: str = "") -> Parameter:
    return Parameter(
        name=name, type=ParameterType.DECIMAL, default=default, minimum=low, maximum=high,
        nullable=default is None, description=text,
    )  # fmt: skip


def _choice(name: str, default: str | None, choices: list[str], text: str = "") -> Parameter:
    return Parameter(
        name=name, type=ParameterType.CHOICE, default=default, choices=choices, nullable=default is None,
        description=text,
    )  # fmt: skip


def _flag(name: str, default: bool, text: str = "") -> Parameter:
    return Parameter(name=name, type=ParameterType.BOOLEAN, default=default, description=text)


_BOTH = [Task.CLASSIFICATION, Task.REGRESSION]
_SKLEARN = Framework.SCIKIT_LEARN
_BALANCED = _choice(
    "class_weight", None, ["balanced"], "weigh classes by the inverse of their frequency; classification only"
)

_FOREST = [
    _int("n_estimators", 100, 1, 5000, unit="trees"),
    _int("max_depth", None, 1, 200, "null: grow until leaves are pure"),
    _int("min_samples_split", 2, 2, 10_000, unit="rows"),
    _int("min_samples_leaf", 1, 1, 10_000, unit="rows"),
    _choice(
        "max_features", None, ["sqrt", "log2"], "columns tried at each split; null: the library's default"
    ),
    _BALANCED,
]

ALGORITHMS: list[Algorithm] = [
    Algorithm(
        name="logistic_regression", framework=_SKLEARN, tasks=[Task.CLASSIFICATION], reports_rounds=False,
        description="Linear model of class probabilities, L2 regularised; columns are scaled first.",
        parameters=[
            _dec("C", 1.0, 1e-6, 1e6, "inverse of the regularisation strength"),
            _int("max_iter", 1000, 1, 100_000, unit="iterations"),
            _dec("tol", 1e-4, 1e-12, 1.0),
            _BALANCED,
        ],
    ),
    Algorithm(
        name="linear_regression", framework=_SKLEARN, tasks=[Task.REGRESSION], reports_rounds=False,
        description="Ordinary least squares.", parameters=[_flag("fit_intercept", default=True)],
    ),
    Algorithm(
        name="ridge", framework=_SKLEARN, tasks=[Task.REGRESSION], reports_rounds=False,
        description="Least squares with L2 regularisation; columns are scaled first.",
        parameters=[_dec("alpha", 1.0, 0.0, 1e9), _flag("fit_intercept", default=True)],
    ),
    Algorithm(
        name="lasso", framework=_SKLEARN, tasks=[Task.REGRESSION], reports_rounds=False,
        description="Least squares with L1 regularisation; columns are scaled first.",
        parameters=[_dec("alpha", 1.0, 1e-9, 1e9), _int("max_iter", 1000, 1, 100_000, unit="iterations")],
    ),
    Algorithm(
        name="elastic_net", framework=_SKLEARN, tasks=[Task.REGRESSION], reports_rounds=False,
        description="Least squares with L1 and L2 regularisation; columns are scaled first.",
        parameters=[
            _dec("alpha", 1.0, 1e-9, 1e9),
            _dec("l1_ratio", 0.5, 0.0, 1.0),
            _int("max_iter", 1000, 1, 100_000, unit="iterations"),
        ],
    ),
    Algorithm(
        name="random_forest", framework=_SKLEARN, tasks=_BOTH, reports_rounds=True,
        description="Averaged decision trees on bootstrap samples.", parameters=_FOREST,
    ),
    Algorithm(
        name="extra_trees", framework=_SKLEARN, tasks=_BOTH, reports_rounds=True,
        description="Averaged decision trees with random split points.", parameters=_FOREST,
    ),
    Algorithm(
        name="hist_gradient_boosting", framework=_SKLEARN, tasks=_BOTH, reports_rounds=True,
        description="Gradient boosting on binned columns.",
        parameters=[
            _dec("learning_rate", 0.1, 1e-6, 1.0),
            _int("max_iter", 100, 1, 10_000, unit="rounds"),
            _int("max_leaf_nodes", 31, 2, 10_000),
            _int("max_depth", None, 1, 200),
            _int("min_samples_leaf", 20, 1, 100_000, unit="rows"),
            _dec("l2_regularization", 0.0, 0.0, 1e6),
        ],
    ),
    Algorithm(
        name="knn", framework=_SKLEARN, tasks=_BOTH, reports_rounds=False,
        description="The nearest training rows vote; columns are scaled first.",
        parameters=[
            _int("n_neighbors", 5, 1, 10_000, unit="rows"),
            _choice("weights", "uniform", ["uniform", "distance"]),
        ],
    ),
    Algorithm(
        name="svm", framework=_SKLEARN, tasks=_BOTH, reports_rounds=False,
        description="Support vector machine; columns are scaled first. Slow above some 20 000 rows.",
        parameters=[
            _dec("C", 1.0, 1e-6, 1e6),
            _choice("kernel", "rbf", ["linear", "poly", "rbf", "sigmoid"]),
            _choice("gamma", "scale", ["scale", "auto"]),
        ],
    ),
    Algorithm(
        name="naive_bayes", framework=_SKLEARN, tasks=[Task.CLASSIFICATION], reports_rounds=False,
        description="Gaussian naive Bayes.", parameters=[_dec("var_smoothing", 1e-9, 0.0, 1.0)],
    ),
    Algorithm(
        name="mlp", framework=_SKLEARN, tasks=_BOTH, reports_rounds=False,
        description="A small neural network; columns are scaled first.",
        parameters=[
            Parameter(
                name="hidden_layer_sizes", type=ParameterType.INTEGERS, default=[100], minimum=1, maximum=4096,
                unit="units",
            ),
            _dec("alpha", 1e-4, 0.0, 1e3),
            _dec("learning_rate_init", 1e-3, 1e-7, 1.0),
            _int("max_iter", 200, 1, 10_000, unit="epochs"),
        ],
    ),
    Algorithm(
        name="dummy", framework=_SKLEARN, tasks=_BOTH, reports_rounds=False,
        description="Ignores the columns: the most frequent class, or the mean. The baseline to beat.", parameters=[],
    ),
    Algorithm(
        name="xgboost", framework=Framework.XGBOOST, tasks=_BOTH, reports_rounds=True,
        description="Gradient-boosted trees of the XGBoost library.",
        parameters=[
            _int("n_estimators", 100, 1, 10_000, unit="rounds"),
            _int("max_depth", 6, 1, 64),
            _dec("learning_rate", 0.3, 1e-6, 1.0),
            _dec("subsample", 1.0, 0.01, 1.0),
            _dec("colsample_bytree", 1.0, 0.01, 1.0),
            _dec("min_child_weight", 1.0, 0.0, 1e6),
            _dec("gamma", 0.0, 0.0, 1e6),
            _dec("reg_alpha", 0.0, 0.0, 1e6),
            _dec("reg_lambda", 1.0, 0.0, 1e6),
        ],
    ),
    Algorithm(
        name="lightgbm", framework=Framework.LIGHTGBM, tasks=_BOTH, reports_rounds=True,
        description="Gradient-boosted trees of the LightGBM library.",
        parameters=[
            _int("n_estimators", 100, 1, 10_000, unit="rounds"),
            _int("num_leaves", 31, 2, 131_072),
            _int("max_depth", -1, -1, 200, "-1: no limit"),
            _dec("learning_rate", 0.1, 1e-6, 1.0),
            _int("min_child_samples", 20, 1, 1_000_000, unit="rows"),
            _dec("subsample", 1.0, 0.01, 1.0),
            _int("subsample_freq", 0, 0, 1000, "0: no row sampling", unit="rounds"),
            _dec("colsample_bytree", 1.0, 0.01, 1.0),
            _dec("reg_alpha", 0.0, 0.0, 1e6),
            _dec("reg_lambda", 0.0, 0.0, 1e6),
        ],
    ),
]  # fmt: skip
