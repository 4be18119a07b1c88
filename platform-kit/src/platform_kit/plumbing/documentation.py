"""What the OpenAPI document says of every operation: the answers that any of them may give, and the headers of all."""

from typing import Any

from fastapi import FastAPI

from platform_kit.contract.problem import ProblemDetail
from platform_kit.plumbing.problems import MEDIA_TYPE, REQUEST_ID_HEADER
from platform_kit.plumbing.rate_limits import HEADERS, is_counted

_METHODS = ("get", "post", "put", "patch", "delete")
_SCHEMAS = "#/components/schemas/"
_NOT_OURS = ("HTTPValidationError", "ValidationError")
"""Of FastAPI, for an answer that no service of ours gives."""
_COME_BACK = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}}}
_EVERYWHERE = {
    "414": "The address is too long",
    "422": "The request is understood and wrong; `errors` names each place",
    "429": "Too many requests: wait as long as `Retry-After` says",
    "503": "A part that is needed does not answer: come back as `Retry-After` says",
}
_WITH_JSON = {
    "400": "The body is not JSON, or nested too deeply",
    "413": "The body is too large",
    "415": "The body does not say that it is JSON",
}
_COUNTED = ("requests that are allowed", "requests that are left", "seconds until there is room again")
_HEADERS = {
    REQUEST_ID_HEADER: {
        "description": "of this request in the logs",
        "required": True,
        "schema": {"type": "string"},
    },
    **{
        name: {"description": text, "schema": {"type": "integer"}}
        for name, text in zip(HEADERS, _COUNTED, strict=True)
    },
}


def document_refusals(app: FastAPI) -> None:
    """Add to each operation what it does not describe itself, in place of the validation errors of FastAPI."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        components = document.setdefault("components", {})
        components.setdefault("headers", _HEADERS)
        schemas = components.setdefault("schemas", {})
        if ProblemDetail.__name__ not in schemas:
            schemas.update(_problem_schemas())
        for name in _NOT_OURS:
            schemas.pop(name, None)
        for path, methods in document["paths"].items():
            for operation in (methods[each] for each in _METHODS if each in methods):
                _describe(operation, is_counted=is_counted(path))
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the way in which FastAPI lets a document be extended


def _describe(operation: dict[str, Any], *, is_counted: bool) -> None:
    responses = operation["responses"]
    if _NOT_OURS[0] in str(responses.get("422")):
        del responses["422"]
    takes_json = "application/json" in operation.get("requestBody", {}).get("content", {})
    for status, description in (_EVERYWHERE | (_WITH_JSON if takes_json else {})).items():
        content = {MEDIA_TYPE: {"schema": {"$ref": _SCHEMAS + ProblemDetail.__name__}}}
        responses.setdefault(status, {"description": description, "content": content})
    for status in ("429", "503"):
        responses[status].setdefault("headers", _COME_BACK)
    sent = {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in _HEADERS
        if is_counted or name not in HEADERS
    }
    for status, response in responses.items():
        if status.startswith("2"):
            response["headers"] = {**sent, **response.get("headers", {})}


def _problem_schemas() -> dict[str, Any]:
    schema = ProblemDetail.model_json_schema(ref_template=_SCHEMAS + "{model}")
    return {**schema.pop("$defs", {}), ProblemDetail.__name__: schema}
