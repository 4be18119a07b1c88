"""What a route answers, for OpenAPI: the headers of its answers, and its problems."""

from typing import Any

from platform_kit.contract.problem import ProblemDetail
from platform_kit.plumbing.problems import MEDIA_TYPE

_MEANING = {
    400: "cannot be read as what it says it is",
    401: "no credential, or one that does not hold",
    403: "you may see it, but not do this",
    404: "unknown, or not yours to see",
    409: "its state or its name stands against this",
    412: "somebody changed it meanwhile",
    413: "too large",
    415: "not a format that is accepted",
    422: "the request is understood and wrong; `errors` names each place",
    429: "too often, or too many at once; try again after `Retry-After` seconds",
    503: "a part of the platform is away; try again after `Retry-After` seconds",
}

_HEADERS = {
    "Location": "where to read it from now on",
    "ETag": "names its state; a change that sends it as `If-Match` is made only if nobody else made one",
    "Content-Disposition": "the name of the file",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema = {"$ref": f"#/components/schemas/{ProblemDetail.__name__}"}
    return {
        status: {
            "description": _MEANING[status],
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


def sends(status: int, *headers: str) -> dict[int | str, dict[str, Any]]:
    """Headers that an answer with this status always has."""
    described = {
        name: {"description": _HEADERS[name], "required": True, "schema": {"type": "string"}}
        for name in headers
    }
    return {status: {"headers": described}}
