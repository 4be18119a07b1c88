"""The `preprocessing` of a training: what a person may ask of the encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_service.features.problems import InvalidPreprocessing
from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shown

DEFAULT_MAX_CATEGORIES = 50
_LARGEST_MAX_CATEGORIES = 1000
_KNOWN = ("exclude", "scale", "max_categories")


@dataclass(frozen=True, slots=True)
class Options:
    """scale: None leaves it to the algorithm."""

    exclude: tuple[str, ...] = ()
    scale: bool | None = None
    max_categories: int = DEFAULT_MAX_CATEGORIES


def options_of(preprocessing: Mapping[str, Any], *, names: Sequence[str]) -> Options:
    """Check what was asked. names: of the columns. Raises InvalidPreprocessing, naming everything wrong."""
    issues = [_unknown(key, value) for key, value in preprocessing.items() if key not in _KNOWN]
    exclude = preprocessing.get("exclude", [])
    scale = preprocessing.get("scale")
    limit = preprocessing.get("max_categories", DEFAULT_MAX_CATEGORIES)
    issues += _exclude_issues(exclude, names)
    if scale is not None and not isinstance(scale, bool):
        issues.append(_issue("scale", scale, IssueCode.WRONG_TYPE, "boolean"))
    if isinstance(limit, bool) or not isinstance(limit, int):
        issues.append(_issue("max_categories", limit, IssueCode.WRONG_TYPE, "integer"))
    elif not 1 <= limit <= _LARGEST_MAX_CATEGORIES:
        issues.append(
            _issue("max_categories", limit, IssueCode.OUT_OF_RANGE, f"from 1 to {_LARGEST_MAX_CATEGORIES}")
        )
    if issues:
        wrong = ", ".join(dict.fromkeys(each.field or each.pointer for each in issues))
        raise InvalidPreprocessing(
            f"Please mend {wrong} in `preprocessing`; it takes {', '.join(_KNOWN)}.", errors=issues
        )
    return Options(exclude=tuple(exclude), scale=scale, max_categories=limit)


def _exclude_issues(exclude: Any, names: Sequence[str]) -> list[Issue]:
    if not isinstance(exclude, list):
        return [_issue("exclude", exclude, IssueCode.WRONG_TYPE, "a list of column names")]
    return [
        Issue(
            pointer=pointer_to("preprocessing", "exclude", number),
            field="exclude",
            code=IssueCode.UNKNOWN_VALUE,
            got=shown(name),
            expected=f"one of: {', '.join(names)}",
        )
        for number, name in enumerate(exclude)
        if name not in names
    ]


def _issue(key: str, value: Any, code: IssueCode, expected: str) -> Issue:
    return Issue(
        pointer=pointer_to("preprocessing", key), field=key, code=code, got=shown(value), expected=expected
    )


def _unknown(key: str, value: Any) -> Issue:
    return _issue(key, value, IssueCode.UNKNOWN_FIELD, f"one of: {', '.join(_KNOWN)}")
