"""Errors as data: RFC 9457 problem details, with one entry for each thing that is wrong."""

import json
import math
from enum import StrEnum
from typing import Any

from pydantic import Field

from platform_kit.contract.base import Readable

SHOWN_CHARACTERS = 64
"""A value is quoted back to its sender cut to this length."""
NAME_CHARACTERS = 128
"""So is a name that we do not know."""


class IssueCode(StrEnum):
    """What is wrong with one field, column, cell or parameter."""

    MISSING_FIELD = "missing_field"
    UNKNOWN_FIELD = "unknown_field"
    WRONG_TYPE = "wrong_type"
    NULL_NOT_ALLOWED = "null_not_allowed"
    UNKNOWN_CATEGORY = "unknown_category"
    OUT_OF_RANGE = "out_of_range"
    NOT_FINITE = "not_finite"
    DUPLICATE_KEY = "duplicate_key"
    MALFORMED = "malformed"
    UNKNOWN_VALUE = "unknown_value"
    """Not one of a closed list of choices (an algorithm, a parameter's options)."""
    GUESSABLE = "guessable"
    """A password that many have."""
    TOO_LONG = "too_long"
    TOO_SHORT = "too_short"
    RAGGED_ROW = "ragged_row"
    DUPLICATE_COLUMN = "duplicate_column"


class Issue(Readable):
    """One thing that is wrong, with where it is and how to mend it."""

    pointer: str = Field(
        description="JSON pointer (RFC 6901) into the body that was sent", examples=["/inputs/2/age"]
    )
    row: int | None = Field(default=None, description="row, counting from 0")
    line: int | None = Field(default=None, description="line of the uploaded file, counting from 1")
    field: str | None = None
    code: IssueCode
    got: str | None = Field(default=None, description=f"what was sent, cut to {SHOWN_CHARACTERS} characters")
    expected: str | None = None
    hint: str | None = None


class ProblemDetail(Readable):
    """An `application/problem+json` body."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    code: str
    request_id: str | None = None
    errors: list[Issue] | None = None


def shown(value: Any) -> str:
    """Quote a value for `got`: short enough for a log line, typed as the sender wrote it."""
    if isinstance(value, str):
        value = value[: SHOWN_CHARACTERS + 1]  # the rest, which may be megabytes, would not be shown
    return shortened(_as_json_would(value), SHOWN_CHARACTERS)


def shortened(text: str, most: int = NAME_CHARACTERS) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _as_json_would(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False)
        case dict():
            return "an object"
        case list():
            return "an array"
        case float() if math.isnan(value):
            return "NaN"
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case _:
            return str(value)


def pointer_to(*parts: str | int) -> str:
    """Join parts to a JSON pointer, escaped as RFC 6901 says."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
