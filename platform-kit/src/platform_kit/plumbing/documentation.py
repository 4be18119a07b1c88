"""What the OpenAPI document says of every operation: two answers that any of them may give."""

from typing import Any

from fastapi import FastAPI

from platform_kit.contract.problem import ProblemDetail
from platform_kit.plumbing.problems import MEDIA_TYPE

_METHODS = ("get", "post", "put", "patch", "delete")
_SCHEMAS = "#/components/schemas/"
_COME_BACK = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}}}
_EVERYWHERE = {
    "429": "Too many requests: wait as long as `Retry-After` says",
    "503": "A part that is needed does not answer: come back as `Retry-After` says",
}


def document_refusals(app: FastAPI) -> None:
    """Add 429 and 503 to each operation that does not describe them itself."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        if ProblemDetail.__name__ not in schemas:
            schemas.update(_problem_schemas())
        for path in document["paths"].values():
            for method in _METHODS:
                if method in path:
                    _add_refusals(path[method]["responses"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the way in which FastAPI lets a document be extended


def _add_refusals(responses: dict[str, Any]) -> None:
    for status, description in _EVERYWHERE.items():
        content = {MEDIA_TYPE: {"schema": {"$ref": _SCHEMAS + ProblemDetail.__name__}}}
        refusal = responses.setdefault(status, {"description": description, "content": content})
        refusal.setdefault("headers", _COME_BACK)


def _problem_schemas() -> dict[str, Any]:
    schema = ProblemDetail.model_json_schema(ref_template=_SCHEMAS + "{model}")
    return {**schema.pop("$defs", {}), ProblemDetail.__name__: schema}
