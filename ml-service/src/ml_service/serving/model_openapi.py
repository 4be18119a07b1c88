"""One model's own OpenAPI document, made from its contract: types, known categories, ranges, a real example."""

from typing import Any

from ml_service.serving.found import Found
from platform_kit.contract.artifact import Task
from platform_kit.contract.inputs import FieldContract, Policy
from platform_kit.contract.prediction import BatchPrediction, Prediction
from platform_kit.contract.problem import ProblemDetail
from platform_kit.contract.schema import ColumnType
from platform_kit.plumbing.problems import MEDIA_TYPE

_TYPES: dict[ColumnType, dict[str, Any]] = {
    ColumnType.INTEGER: {"type": "integer"},
    ColumnType.DECIMAL: {"type": "number"},
    ColumnType.BOOLEAN: {"type": "boolean"},
    ColumnType.STRING: {"type": "string"},
    ColumnType.DATETIME: {"type": "string", "format": "date-time"},
}


def model_openapi(found: Found, *, public_url: str) -> dict[str, Any]:
    schemas: dict[str, Any] = {"Row": row_schema(found)}
    for shape in (Prediction, BatchPrediction, ProblemDetail):
        schema = shape.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
        schemas.update(schema.pop("$defs", {}))
        schemas[shape.__name__] = schema
    _name_answers(schemas, found)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": found.name,
            "version": str(found.number),
            "description": f"{found.model_type} with {found.framework}, version {found.number}, "
            f"digest {found.version.digest}.",
        },
        "servers": [{"url": public_url.rstrip("/")}],
        "paths": {
            f"/predict/{found.endpoint}": _operation("predict", "One row", _single(), "Prediction"),
            f"/predict/{found.endpoint}/batch": _operation(
                "predict_batch", "Many rows", _batch(), "BatchPrediction"
            ),
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{"bearer": []}, {"api_key": []}],
    }


def row_schema(found: Found) -> dict[str, Any]:
    fields = found.version.manifest.contract.fields
    golden = found.version.manifest.golden_rows
    return {
        "type": "object",
        "properties": {each.name: _field(each) for each in fields},
        "required": [each.name for each in fields if each.on_missing is not Policy.IMPUTE],
        "additionalProperties": False,
        "examples": [golden[0].input] if golden else [],
    }


def _field(field: FieldContract) -> dict[str, Any]:
    schema = dict(_TYPES[field.type])
    if field.categories is not None and field.on_unknown_category is Policy.REJECT:
        schema["enum"] = [*field.categories, None] if field.nullable else field.categories
    elif field.categories is not None:
        schema["x-known-values"] = field.categories
    for name, bound in (("minimum", field.minimum), ("maximum", field.maximum)):
        if bound is not None and field.type.is_numeric:
            schema[name if field.on_out_of_range is Policy.REJECT else f"x-training-{name}"] = bound
    if field.nullable:
        schema["type"] = [schema["type"], "null"]
    if field.example is not None:
        schema["examples"] = [field.example]
    return schema


def _name_answers(schemas: dict[str, Any], found: Found) -> None:
    """Say which labels can come back."""
    if found.model_type != Task.CLASSIFICATION or not found.version.manifest.classes:
        answer: dict[str, Any] = {"type": "number"}
    else:
        answer = {"enum": found.version.manifest.classes}
    for shape in ("Prediction", "BatchItem"):
        schemas[shape]["properties"]["prediction"] = answer


def _single() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "input_data": {"$ref": "#/components/schemas/Row"},
            "return_probabilities": {"type": "boolean", "default": False},
            "use_cache": {"type": "boolean", "default": True},
        },
        "required": ["input_data"],
        "additionalProperties": False,
    }


def _batch() -> dict[str, Any]:
    schema = _single()
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}, "minItems": 1, "maxItems": 10_000}
    schema["properties"] = {"inputs": rows, **schema["properties"]}
    del schema["properties"]["input_data"]
    schema["required"] = ["inputs"]
    return schema


def _operation(name: str, summary: str, body: dict[str, Any], answer: str) -> dict[str, Any]:
    problem = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetail"}}}}
    ok = {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer}"}}}}
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {
                "200": {"description": "the answer", **ok},
                "401": {"description": "no credential, or one that does not hold", **problem},
                "403": {"description": "an API key without the scope predict", **problem},
                "404": {"description": "no such model, or not yours to see", **problem},
                "422": {"description": "rows that do not fit; every error is named", **problem},
                "503": {"description": "try again after `Retry-After` seconds", **problem},
            },
        }
    }
