"""One model's own OpenAPI document, made from its contract as the deployment applies it."""

from collections.abc import Sequence
from typing import Any

from ml_service.serving.answering import MOST_EXPLAINED
from ml_service.serving.demo_models import rule_of
from ml_service.serving.errors import (
    Malformed,
    ModelNotFound,
    NotDeployed,
    NotJson,
    NotSignedIn,
    Overloaded,
    ScopeMissing,
    TooLarge,
    TooSlow,
)
from ml_service.serving.found import Found
from ml_service.serving.model_examples import problem_with, rows_that_fit
from ml_service.serving.model_schema import row_schema
from ml_service.serving.servable import Servable
from platform_kit.contract.access import Scope
from platform_kit.contract.artifact import Label, Task, canonical_json
from platform_kit.contract.labels import label_key
from platform_kit.contract.prediction import MAX_BATCH_ROWS, BatchPrediction, Explanation, Prediction
from platform_kit.contract.problem import ProblemDetail
from platform_kit.plumbing.problems import MEDIA_TYPE, Problem
from platform_kit.plumbing.rate_limits import TooManyRequests

Json = dict[str, Any]

_SCHEMAS = "#/components/schemas/"
_COME_BACK = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}}}
_REFUSALS: dict[str, Problem] = {
    "the body is not JSON": Malformed("The body is not JSON: Expecting value: line 1 column 16 (char 15)."),
    "no credential, or one that does not hold": NotSignedIn(),
    "an API key without the scope `predict`": ScopeMissing(have=[Scope.READ], need=[Scope.PREDICT]),
    "no such model, or not yours to see": ModelNotFound(),
    "the body did not arrive in time": TooSlow("The body did not arrive within 30 s."),
    "the model is not deployed any more": NotDeployed("The model is trained but not deployed."),
    "the body is too large": TooLarge(
        "The request is larger than 4194304 bytes, which is all that is taken here."
    ),
    "the body does not say that it is JSON": NotJson(
        "Send the row as JSON, with `Content-Type: application/json`."
    ),
    "too many requests: wait as long as `Retry-After` says": TooManyRequests("Please wait 3 s."),
    "a part that is needed is busy or away: come back as `Retry-After` says": Overloaded(),
}
_DOES_NOT_FIT = "rows that do not fit; `errors` names every place"


def model_openapi(found: Found, *, public_url: str) -> Json:
    servable = found.servable
    rows = rows_that_fit(servable, found.version.manifest.golden_rows)
    problem = problem_with(servable, rows[0])
    one, many = _bodies(rows)
    credentials: list[Json] = [{"bearer": []}, {"api_key": []}]
    return {
        "openapi": "3.1.0",
        "info": {"title": found.name, "version": str(found.number), "description": _described(found)},
        "servers": [{"url": public_url.rstrip("/")}],
        "paths": {
            f"/predict/{found.endpoint}": _operation(
                "predict", "Predict one row", one, "Prediction", problem
            ),
            f"/predict/{found.endpoint}/batch": _operation(
                "predict_batch",
                f"Predict 1 to {MAX_BATCH_ROWS} rows; one bad row refuses all",
                many,
                "BatchPrediction",
                problem,
            ),
        },
        "components": {
            "schemas": _schemas(found, rows),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [*credentials, {}] if rule_of(found.model_id) else credentials,
    }


def _described(found: Found) -> str:
    text = (
        f"{found.model_type.capitalize()} with {found.framework}, version {found.number}, "
        f"digest {found.version.digest}."
    )
    options = found.servable.options.model_dump(mode="json", exclude_defaults=True)
    return f"{text} Its deployment's options: `{canonical_json(options).decode()}`." if options else text


def _schemas(found: Found, rows: Sequence[Json]) -> Json:
    schemas: Json = {"Row": row_schema(found.servable.contract, rows)}
    for shape in (Prediction, BatchPrediction, Explanation, ProblemDetail):
        schema = shape.model_json_schema(ref_template=_SCHEMAS + "{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[shape.__name__] = schema
    is_classification = found.model_type == Task.CLASSIFICATION
    for name in ("Prediction", "BatchItem"):
        _narrow(schemas[name]["properties"], found.servable, is_classification=is_classification)
    return schemas


def _narrow(properties: Json, servable: Servable, *, is_classification: bool) -> None:
    """Say what can come back from this model."""
    answer: Json = {"enum": _answers(servable)} if is_classification else {"type": "number"}
    properties["prediction"] = answer
    properties["confidence_score"] = {"type": "number" if is_classification else "null"}
    properties["probabilities"] = _probabilities(servable) if is_classification else {"type": "null"}
    properties.pop("outputs", None)
    if servable.output_name is not None:
        properties["outputs"] = _object({servable.output_name: answer}, [servable.output_name])
    properties["explanation"] = {"$ref": f"{_SCHEMAS}{Explanation.__name__}"}


def _answers(servable: Servable) -> list[Label | None]:
    answers: list[Label | None] = [*servable.labels]
    if servable.options.abstain_below is not None:
        answers.append(servable.options.abstain_answer)
    return list({canonical_json(each): each for each in answers}.values())


def _probabilities(servable: Servable) -> Json:
    keys = list(dict.fromkeys(map(label_key, servable.labels)))
    schema = _object({key: {"type": "number"} for key in keys}, keys)
    return {**schema, "type": ["object", "null"], "description": "with `return_probabilities` only"}


def _bodies(rows: Sequence[Json]) -> tuple[Json, Json]:
    """What is sent for one row and for many, each with examples."""
    row = {"$ref": f"{_SCHEMAS}Row"}
    several = {"type": "array", "items": row, "minItems": 1, "maxItems": MAX_BATCH_ROWS}
    one = _body({"input_data": row}, "why the model says so, too")
    many = _body({"inputs": several}, f"why the model says so, too; of at most {MOST_EXPLAINED} rows")
    one["examples"] = {
        "row": {"summary": "a row of the dataset", "value": {"input_data": rows[0]}},
        "explained": {
            "summary": "with probabilities and reasons",
            "value": {"input_data": rows[-1], "return_probabilities": True, "explain": True},
        },
    }
    many["examples"] = {"rows": {"summary": "rows of the dataset", "value": {"inputs": list(rows)}}}
    return one, many


def _body(rows: Json, explaining: str) -> Json:
    options = {
        "return_probabilities": {"type": "boolean", "default": False},
        "use_cache": {"type": "boolean", "default": True},
        "explain": {"type": "boolean", "default": False, "description": explaining},
    }
    return {"schema": _object({**rows, **options}, list(rows))}


def _object(properties: Json, required: Sequence[str]) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _operation(name: str, summary: str, body: Json, answer: str, problem: Json) -> Json:
    ok = {
        "description": "the answer",
        "content": {"application/json": {"schema": {"$ref": _SCHEMAS + answer}}},
    }
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "tags": ["predictions"],
            "requestBody": {"required": True, "content": {"application/json": body}},
            "responses": {"200": ok, **_refusals(problem)},
        }
    }


def _refusals(problem: Json) -> Json:
    found = {str(each.status): _refusal(text, _shown(each)) for text, each in _REFUSALS.items()}
    found["422"] = _refusal(_DOES_NOT_FIT, problem)
    for status in ("429", "503"):
        found[status]["headers"] = _COME_BACK
    return dict(sorted(found.items()))


def _shown(problem: Problem) -> Json:
    return problem.as_detail().model_dump(mode="json", exclude_none=True)


def _refusal(text: str, example: Json) -> Json:
    schema = {"$ref": f"{_SCHEMAS}{ProblemDetail.__name__}"}
    return {"description": text, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}
