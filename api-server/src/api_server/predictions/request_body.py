"""Taking a request apart without changing a byte of what ml-service is to judge.

A decoder loses what stands there twice, and how a number was written. So the model's name is cut out of the text, and
the rest goes on as it came.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from api_server.predictions.schemas import PredictIn
from api_server.registry.errors import ModelNotFound
from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shown
from platform_kit.plumbing.problems import InvalidRequest, Malformed, NotJson
from platform_kit.plumbing.storable import MOST_JSON_BYTES, BodyTooLarge

MODEL = "model_id"
_DECODER = json.JSONDecoder()
_NAME = re.compile(r"[A-Za-z0-9_-]+")
"""Ids and the names of endpoints."""
_SPACE = re.compile(r"[ \t\n\r]*")
_JSON = re.compile(r"application/(?:json|[^;]*\+json)\s*(?:;|\Z)", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    """rest: the body for ml-service, as it was written; input_data: what the history keeps of it."""

    model: str
    rest: bytes
    input_data: Any


class Member(NamedTuple):
    """start, end: where it stands, from the name's first quote to the value's last character."""

    name: str
    value: Any
    start: int
    end: int


async def read(request: Request) -> Asked:
    """Raises NotJson, BodyTooLarge, and what `take_apart` raises."""
    if not _JSON.match(request.headers.get("content-type", "application/json").strip()):
        raise NotJson("Send a JSON object, with `Content-Type: application/json`.")
    declared = request.headers.get("content-length", "")
    body = bytearray()
    if not declared.isdecimal() or int(declared) <= MOST_JSON_BYTES:
        async for chunk in request.stream():
            body.extend(chunk)
            if len(body) > MOST_JSON_BYTES:
                break
        else:
            return take_apart(bytes(body))
    raise BodyTooLarge(f"The body is larger than {MOST_JSON_BYTES} bytes.")


def take_apart(body: bytes) -> Asked:
    """Raises Malformed, InvalidRequest, RequestValidationError and ModelNotFound for a name that no model can have.

    All else that may be wrong is for ml-service to say.
    """
    text, members = _decoded(body)
    named = [each for each in members if each.name == MODEL]
    if len(named) > 1:
        raise _invalid(pointer_to(MODEL), IssueCode.DUPLICATE_KEY, "each field once")
    values = {each.name: each.value for each in members}
    _require_model(values)
    if not _NAME.fullmatch(values[MODEL]):
        raise ModelNotFound  # with a slash in it, it would be another address of ml-service
    rest = _without(text, members, named[0])
    return Asked(values[MODEL], rest.encode(errors="surrogatepass"), values.get("input_data"))


def _decoded(body: bytes) -> tuple[str, Sequence[Member]]:
    try:
        # As `json.loads` decodes bytes.
        text = body.decode(json.detect_encoding(body), errors="surrogatepass")
        return text, list(_members(text))
    except RecursionError:
        raise _invalid("", IssueCode.MALFORMED, "an object of plain values") from None
    except ValueError as error:
        raise Malformed(f"The body is not JSON: {error}.") from None


def _members(text: str) -> Iterator[Member]:
    """The members of the object that the text is, each as often as it is there."""
    at = _past_space(text, 0)
    if text[at : at + 1] != "{":
        raise _invalid("", IssueCode.WRONG_TYPE, "an object", got=shown(json.loads(text)))
    at = _past_space(text, at + 1)
    is_open = text[at : at + 1] != "}"
    while is_open:
        start = at
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, at)
        name, at = _DECODER.raw_decode(text, at)
        at = _past_space(text, _past(":", text, at))
        value, end = _DECODER.raw_decode(text, at)
        yield Member(name, value, start, end)
        at = _past_space(text, end)
        is_open = text[at : at + 1] != "}"
        if is_open:
            at = _past_space(text, _past(",", text, at))
    if _past_space(text, at + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, at + 1)


def _past(mark: str, text: str, at: int) -> int:
    at = _past_space(text, at)
    if text[at : at + 1] != mark:
        raise json.JSONDecodeError(f"Expecting {mark!r} delimiter", text, at)
    return at + 1


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _require_model(values: dict[str, Any]) -> None:
    """Name with the model all that is wrong with the request's shape, since nobody else will."""
    try:
        PredictIn.model_validate(values)
    except ValidationError as error:
        found = error.errors()
        if any(each["loc"][:1] == (MODEL,) for each in found):
            in_body = [{**each, "loc": ("body", *each["loc"])} for each in found]
            raise RequestValidationError(in_body) from None


def _without(text: str, members: Sequence[Member], gone: Member) -> str:
    """The text without one of its members, and without the comma that belongs to it."""
    where = members.index(gone)
    if where + 1 < len(members):
        return text[: gone.start] + text[members[where + 1].start :]
    before = members[where - 1].end if where else gone.start
    return text[:before] + text[gone.end :]


def _invalid(pointer: str, code: IssueCode, expected: str, *, got: str | None = None) -> InvalidRequest:
    field = pointer.removeprefix("/") or None
    issue = Issue(pointer=pointer, field=field, code=code, got=got, expected=expected)
    return InvalidRequest(f"Please mend {field or 'the body'}.", errors=[issue])
