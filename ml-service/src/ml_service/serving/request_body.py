"""Reading a request's JSON without losing what is wrong with it.

The usual decoders keep the last of two equal keys and let NaN through unseen; here both reach the checks.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from ml_service.serving.errors import InvalidInput, Malformed, NotJson, TooLarge
from platform_kit.contract.prediction import MAX_BATCH_ROWS
from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shown


class TwiceNamed(dict[str, Any]):
    """An object in which a key stood more than once; `repeated` names them."""

    repeated: list[str]


@dataclass(frozen=True, slots=True)
class Options:
    return_probabilities: bool
    use_cache: bool
    explain: bool


async def read_body(request: Request, *, most_bytes: int) -> bytes:
    """Raises NotJson, TooLarge."""
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise NotJson("Send the row as JSON, with `Content-Type: application/json`.")
    body = bytearray()
    async for chunk in request.stream():
        body.extend(chunk)
        if len(body) > most_bytes:
            raise TooLarge(f"The request is larger than {most_bytes} bytes; send fewer rows at once.")
    return bytes(body)


def parse(raw: bytes) -> Mapping[str, Any]:
    """Decode a JSON object. Raises Malformed, InvalidInput."""
    try:
        body = json.loads(raw, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Malformed(f"The body is not JSON: {reason}.") from None
    if not isinstance(body, dict):
        raise InvalidInput(
            "The body must be a JSON object.",
            errors=[Issue(pointer="", code=IssueCode.WRONG_TYPE, got=shown(body), expected="an object")],
        )
    return body


def single_row(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], Options]:
    """Take a request for one row apart. Raises InvalidInput."""
    issues = _unknown(body, ("input_data", "return_probabilities", "use_cache", "explain"))
    row = body.get("input_data")
    if "input_data" not in body:
        issues.append(_missing("input_data", "an object: feature name to value"))
    elif not isinstance(row, dict):
        issues.append(_wrong("input_data", row, "an object: feature name to value"))
    options = _options(body, issues)
    _refuse(issues)
    return row if isinstance(row, dict) else {}, options


def many_rows(body: Mapping[str, Any]) -> tuple[list[Any], Options]:
    """Take a batch request apart; the rows themselves are still to be checked. Raises InvalidInput."""
    issues = _unknown(body, ("inputs", "return_probabilities", "use_cache"))
    rows = body.get("inputs")
    expected = f"an array of 1 to {MAX_BATCH_ROWS} objects"
    if "inputs" not in body:
        issues.append(_missing("inputs", expected))
    elif not isinstance(rows, list):
        issues.append(_wrong("inputs", rows, expected))
    elif not 1 <= len(rows) <= MAX_BATCH_ROWS:
        code = IssueCode.TOO_SHORT if not rows else IssueCode.TOO_LONG
        issue = Issue(
            pointer="/inputs", field="inputs", code=code, got=f"{len(rows)} rows", expected=expected
        )
        issues.append(issue)
    options = _options(body, issues)
    _refuse(issues)
    return rows if isinstance(rows, list) else [], options


def repeated_keys(
    row: Mapping[str, Any], *, pointer: tuple[str | int, ...], index: int | None
) -> list[Issue]:
    if not isinstance(row, TwiceNamed):
        return []
    return [
        Issue(
            pointer=pointer_to(*pointer, name),
            row=index,
            field=name,
            code=IssueCode.DUPLICATE_KEY,
            expected="each field once",
            hint=f"`{name}` is there more than once; which one counts?",
        )
        for name in row.repeated
    ]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    twice = TwiceNamed(found)
    names = [name for name, _ in pairs]
    twice.repeated = [name for name in found if names.count(name) > 1]
    return twice


def _options(body: Mapping[str, Any], issues: list[Issue]) -> Options:
    issues.extend(repeated_keys(body, pointer=(), index=None))
    values = {"return_probabilities": False, "use_cache": True, "explain": False}
    for name in values:
        if name in body:
            if not isinstance(body[name], bool):
                issues.append(_wrong(name, body[name], "true or false"))
            values[name] = bool(body[name])
    return Options(**values)


def _unknown(body: Mapping[str, Any], known: tuple[str, ...]) -> list[Issue]:
    return [
        Issue(
            pointer=pointer_to(name),
            field=name,
            code=IssueCode.UNKNOWN_FIELD,
            expected=f"one of: {', '.join(known)}",
            hint=f"features go inside `{known[0]}`",
        )
        for name in body
        if name not in known
    ]


def _missing(name: str, expected: str) -> Issue:
    return Issue(pointer=pointer_to(name), field=name, code=IssueCode.MISSING_FIELD, expected=expected)


def _wrong(name: str, got: Any, expected: str) -> Issue:
    code = IssueCode.NULL_NOT_ALLOWED if got is None else IssueCode.WRONG_TYPE
    return Issue(pointer=pointer_to(name), field=name, code=code, got=shown(got), expected=expected)


def _refuse(issues: list[Issue]) -> None:
    if issues:
        named = ", ".join(dict.fromkeys(each.field or "" for each in issues))
        raise InvalidInput(f"Please mend {named}.", errors=issues)
