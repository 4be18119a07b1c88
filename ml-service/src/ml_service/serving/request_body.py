"""Reading a request's JSON without losing what is wrong with it.

The usual decoders keep the last of two equal keys and let NaN through unseen; here both reach the checks. A fast
decoder does the work wherever it can be proved that it lost nothing.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect

from ml_service.serving.errors import BrokenOff, InvalidInput, Malformed, NotJson, TooLarge, TooSlow
from platform_kit.contract.inputs import MOST_UNKNOWN
from platform_kit.contract.prediction import MAX_BATCH_ROWS
from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shortened, shown

QUICK_BYTES = 2 * 1024 * 1024
"""The fast decoder lets nobody else work meanwhile: not for longer than it takes over this."""
MOST_PARTS = 10 * MAX_BATCH_ROWS
"""Objects and arrays in one body. A batch has one for each row; a million of them would hold up everybody."""
MOST_NAMED = 10
LONGEST_INTEGER = 400
"""Digits; of more than 309 none is a finite decimal."""


class TwiceNamed(dict[str, Any]):
    """An object in which a key stood more than once; `repeated` names them."""

    repeated: list[str]


@dataclass(frozen=True, slots=True)
class Options:
    return_probabilities: bool = False
    use_cache: bool = True
    explain: bool = False


_USUAL = Options()
_TEXT_OR_PART, _QUOTE = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[{\[]', re.DOTALL), ord('"')
_OPTIONS = ("return_probabilities", "use_cache", "explain")


async def read_body(request: Request, *, most_bytes: int, within_seconds: float) -> bytes:
    """Raises NotJson, TooLarge, TooSlow, BrokenOff. What says beforehand that it is too large is not waited for."""
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise NotJson("Send the row as JSON, with `Content-Type: application/json`.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most_bytes:
        raise TooLarge(f"The request is larger than {most_bytes} bytes, which is all that is taken here.")
    try:
        async with asyncio.timeout(within_seconds):
            return await _received(request, most_bytes)
    except TimeoutError:
        raise TooSlow(f"The body did not arrive within {within_seconds:g} s.") from None
    except ClientDisconnect:
        raise BrokenOff("The connection ended before the body did.") from None


async def _received(request: Request, most_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body.extend(chunk)
        if len(body) > most_bytes:
            raise TooLarge(f"The request is larger than {most_bytes} bytes, which is all that is taken here.")
    return bytes(body)


def quick_single(raw: bytes) -> tuple[dict[str, Any], Options] | None:
    """Take a request for one row apart, if it is an ordinary one; None: `parse` and `single_row` have to look at it.

    Without a backslash quotes only ever stand around strings. So a body in which as many quotes stand as its keys and
    texts need has lost none in decoding: no key was there twice.
    """
    body = _decoded(raw) if len(raw) <= QUICK_BYTES else None
    if type(body) is not dict or b"\\" in raw:
        return None
    row = body.get("input_data")
    if type(row) is not dict:
        return None
    options = _USUAL if len(body) == 1 else _quick_options(body)
    if options is None:
        return None
    texts = len(body) + len(row)
    for value in row.values():
        found = type(value)
        if found is str:
            texts += 1
        elif found is dict or found is list:
            return None
    return (row, options) if raw.count(b'"') == 2 * texts else None


def _quick_options(body: dict[str, Any]) -> Options | None:
    if any(name != "input_data" and (name not in _OPTIONS or type(body[name]) is not bool) for name in body):
        return None
    return Options(*(body.get(name, getattr(_USUAL, name)) for name in _OPTIONS))


def _decoded(raw: bytes) -> Any:
    """None for what the fast decoder refuses: it does not say enough about the reason."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def parse(raw: bytes) -> Mapping[str, Any]:
    """Decode a JSON object. Raises Malformed, InvalidInput."""
    body = _whole(raw)
    if not isinstance(body, dict):
        raise InvalidInput(
            "The body must be a JSON object.",
            errors=[Issue(pointer="", code=IssueCode.WRONG_TYPE, got=shown(body), expected="an object")],
        )
    return body


def _whole(raw: bytes) -> Any:
    _require_few_parts(raw)
    quick = _decoded(raw) if len(raw) <= QUICK_BYTES else None
    if quick is not None and b"\\" not in raw and raw.count(b'"') == 2 * _texts_in(quick):
        return quick
    try:
        return json.loads(raw, object_pairs_hook=_object, parse_int=_integer)
    except RecursionError:
        issue = Issue(pointer="", code=IssueCode.MALFORMED, expected="an object of plain values")
        raise InvalidInput("The body is nested too deeply.", errors=[issue]) from None
    except ValueError as error:
        raise Malformed(f"The body is not JSON: {error}.") from None


def _require_few_parts(raw: bytes) -> None:
    """Raises InvalidInput."""
    if raw.count(b"{") + raw.count(b"[") <= MOST_PARTS:
        return
    found = (each for each in _TEXT_OR_PART.finditer(raw) if raw[each.start()] != _QUOTE)
    if any(number >= MOST_PARTS for number, _ in enumerate(found)):
        expected = f"at most {MAX_BATCH_ROWS} rows, each an object of plain values"
        raise InvalidInput(
            f"The body holds more than {MOST_PARTS} objects and arrays.",
            errors=[Issue(pointer="", code=IssueCode.TOO_LONG, expected=expected)],
        )


def _texts_in(value: Any) -> int:
    """Keys and texts, however deep; without recursion, because a body may be nested as deep as it likes."""
    count, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        found = type(each)
        if found is dict:
            count += len(each)
            waiting.extend(each.values())
        elif found is list:
            waiting.extend(each)
        elif found is str:
            count += 1
    return count


def single_row(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], Options]:
    """Take a request for one row apart. Raises InvalidInput."""
    issues = _unknown(body, ("input_data", *_OPTIONS))
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
    issues = _unknown(body, ("inputs", *_OPTIONS))
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
            pointer=pointer_to(*pointer, shortened(name)),
            row=index,
            field=shortened(name),
            code=IssueCode.DUPLICATE_KEY,
            expected="each field once",
            hint=f"`{shortened(name)}` is there more than once; which one counts?",
        )
        for name in row.repeated[:MOST_UNKNOWN]
    ]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    twice = TwiceNamed(found)
    twice.repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    return twice


def _integer(text: str) -> int | float:
    """Python refuses to read a very long one, without saying where it stands. It is infinite as any cell's value."""
    return int(text) if len(text) <= LONGEST_INTEGER else float(text)


def _options(body: Mapping[str, Any], issues: list[Issue]) -> Options:
    issues.extend(repeated_keys(body, pointer=(), index=None))
    for name in _OPTIONS:
        if name in body and not isinstance(body[name], bool):
            issues.append(_wrong(name, body[name], "true or false"))
    return Options(*(bool(body.get(name, getattr(_USUAL, name))) for name in _OPTIONS))


def _unknown(body: Mapping[str, Any], known: tuple[str, ...]) -> list[Issue]:
    unknown = [shortened(name) for name in body if name not in known][:MOST_UNKNOWN]
    return [
        Issue(
            pointer=pointer_to(name),
            field=name,
            code=IssueCode.UNKNOWN_FIELD,
            expected=f"one of: {', '.join(known)}",
            hint=f"features go inside `{known[0]}`",
        )
        for name in unknown
    ]


def _missing(name: str, expected: str) -> Issue:
    return Issue(pointer=pointer_to(name), field=name, code=IssueCode.MISSING_FIELD, expected=expected)


def _wrong(name: str, got: Any, expected: str) -> Issue:
    code = IssueCode.NULL_NOT_ALLOWED if got is None else IssueCode.WRONG_TYPE
    return Issue(pointer=pointer_to(name), field=name, code=code, got=shown(got), expected=expected)


def _refuse(issues: list[Issue]) -> None:
    if issues:
        named = ", ".join([*dict.fromkeys(each.field or "" for each in issues)][:MOST_NAMED])
        raise InvalidInput(f"Please mend {named}.", errors=issues)
