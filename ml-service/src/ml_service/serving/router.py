import asyncio
import time
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from ml_service.serving import metrics
from ml_service.serving.access import PREDICTING, READING
from ml_service.serving.answers import Answered, answer_batch, answer_single
from ml_service.serving.demo_models import rule_of
from ml_service.serving.documentation import sign_in
from ml_service.serving.found import Found
from ml_service.serving.model_openapi import model_openapi
from ml_service.serving.request_body import read_body
from ml_service.serving.service import Serving
from platform_kit.contract.numbers import VersionNumber
from platform_kit.contract.prediction import BatchPrediction, BatchRequest, Prediction, PredictionRequest
from platform_kit.contract.problem import ProblemDetail
from platform_kit.plumbing.problems import MEDIA_TYPE, Problem

_BEARER = HTTPBearer(auto_error=False, description="the access token of POST /api/v1/auth/token")
_API_KEY = APIKeyHeader(name="X-API-Key", auto_error=False)

router = APIRouter(dependencies=[Security(sign_in), Security(_BEARER), Security(_API_KEY)])
"""The schemes are declared for the documentation's Authorize button; `Access` reads the headers itself."""

ON_THE_LOOP_BYTES = 32 * 1024
"""A request up to this size is answered where it arrived; a larger one would hold up the others."""

_PROBLEM = {"$ref": f"#/components/schemas/{ProblemDetail.__name__}"}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {each: {"content": {MEDIA_TYPE: {"schema": _PROBLEM}}} for each in statuses}


def _takes(shape: type[PredictionRequest] | type[BatchRequest]) -> dict[str, Any]:
    """The body is read raw, so that nothing wrong with it is lost; this is what it is."""
    schema = shape.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_REFUSALS = _problems(400, 401, 403, 404, 409, 413, 415, 422, 503)


@router.post(
    "/predict/{model}",
    tags=["predictions"],
    summary="Predict one row",
    openapi_extra=_takes(PredictionRequest),
    responses={200: {"model": Prediction}, **_REFUSALS},
)
async def predict(model: str, request: Request) -> Response:
    return await _answer(request, model, None, answer_single)


@router.post(
    "/predict/{model}/batch",
    tags=["predictions"],
    summary="Predict 1 to 10 000 rows; one bad row refuses all",
    openapi_extra=_takes(BatchRequest),
    responses={200: {"model": BatchPrediction}, **_REFUSALS},
)
async def predict_batch(model: str, request: Request) -> Response:
    return await _answer(request, model, None, answer_batch)


@router.post(
    "/predict/{model}/versions/{version}",
    tags=["predictions"],
    summary="Predict one row with a version",
    openapi_extra=_takes(PredictionRequest),
    responses={200: {"model": Prediction}, **_REFUSALS},
)
async def predict_version(model: str, version: VersionNumber, request: Request) -> Response:
    return await _answer(request, model, version, answer_single)


@router.post(
    "/predict/{model}/versions/{version}/batch",
    tags=["predictions"],
    summary="Predict 1 to 10 000 rows with a version",
    openapi_extra=_takes(BatchRequest),
    responses={200: {"model": BatchPrediction}, **_REFUSALS},
)
async def predict_version_batch(model: str, version: VersionNumber, request: Request) -> Response:
    return await _answer(request, model, version, answer_batch)


async def _answer(
    request: Request, ref: str, number: int | None, compute: Callable[..., Answered]
) -> Response:
    serving: Serving = request.state.serving
    began = time.perf_counter()
    found: Found | None = None
    try:
        found = await serving.find(request, ref, number, PREDICTING)
        raw = await read_body(request, most_bytes=serving.most_request_bytes)
        arguments = {"model_id": found.model_id, "number": found.number, "began": began}
        if len(raw) <= ON_THE_LOOP_BYTES:
            answered = compute(found.version, raw, **arguments)
        else:
            answered = await asyncio.to_thread(compute, found.version, raw, **arguments)
    except Problem as refusal:
        _note(serving, found, began, rows=0, outcome="invalid" if refusal.status < 500 else "error")
        raise
    _note(serving, found, began, rows=answered.rows, outcome="ok")
    return Response(answered.body, media_type="application/json")


def _note(serving: Serving, found: Found | None, began: float, *, rows: int, outcome: str) -> None:
    seconds = time.perf_counter() - began
    model_id = found.model_id if found else None
    serving.stats.note(model_id, succeeded=outcome == "ok", milliseconds=seconds * 1000, rows=rows)
    labels = (found.endpoint, str(found.number)) if found else ("none", "none")
    metrics.PREDICTIONS.labels(*labels, outcome).inc()
    metrics.DURATION.labels(*labels).observe(seconds)
    if rows:
        metrics.ROWS.labels(*labels).inc(rows)


@router.get("/models", tags=["models"], summary="Models that you may ask", responses=_problems(401, 503))
async def list_models(request: Request) -> dict[str, Any]:
    serving: Serving = request.state.serving
    return await serving.list_models(request)


@router.get(
    "/models/{model}",
    tags=["models"],
    summary="One model: its input contract and its scores",
    responses=_REFUSALS,
)
async def get_model(model: str, request: Request) -> dict[str, Any]:
    found: Found = await request.state.serving.find(request, model, None, READING)
    manifest = found.version.manifest
    return {
        "model_id": found.model_id,
        "name": found.name,
        "endpoint": found.endpoint,
        "version": found.number,
        "digest": found.version.digest,
        "framework": found.framework,
        "algorithm": manifest.algorithm,
        "model_type": found.model_type,
        "is_loaded": True,
        "classes": manifest.classes,
        "metrics": manifest.metrics,
        "rule": rule_of(found.model_id),
        "contract": manifest.contract.model_dump(mode="json"),
    }


@router.get(
    "/models/{model}/openapi.json",
    tags=["models"],
    summary="One model's own typed OpenAPI document",
    responses=_REFUSALS,
)
async def get_model_openapi(model: str, request: Request) -> dict[str, Any]:
    serving: Serving = request.state.serving
    found = await serving.find(request, model, None, READING)
    return model_openapi(found, public_url=serving.public_url)


@router.get(
    "/stats",
    tags=["models"],
    summary="Counts and latencies since the start, for each model that you may ask",
    responses=_problems(401, 503),
)
async def stats(request: Request) -> dict[str, Any]:
    serving: Serving = request.state.serving
    return await serving.summaries(request)
