from typing import Any

from fastapi import APIRouter, Request, Response, Security
from fastapi.responses import HTMLResponse
from fastapi.security import APIKeyHeader, HTTPBearer

from ml_service.serving.access import READING
from ml_service.serving.answering import Answering
from ml_service.serving.documentation import sign_in
from ml_service.serving.model_facts import facts
from ml_service.serving.model_openapi import model_openapi
from ml_service.serving.model_page import model_page
from ml_service.serving.operating import InMemory, Operating
from ml_service.serving.service import Serving
from platform_kit.contract.numbers import VersionNumber
from platform_kit.contract.prediction import BatchPrediction, BatchRequest, Prediction, PredictionRequest
from platform_kit.contract.problem import ProblemDetail
from platform_kit.plumbing.problems import MEDIA_TYPE

_BEARER = HTTPBearer(auto_error=False, description="the access token of POST /api/v1/auth/token")
_API_KEY = APIKeyHeader(name="X-API-Key", auto_error=False)

router = APIRouter(dependencies=[Security(sign_in), Security(_BEARER), Security(_API_KEY)])
"""The schemes are declared for the documentation's Authorize button; `Access` reads the headers itself."""

_PROBLEM = {"$ref": f"#/components/schemas/{ProblemDetail.__name__}"}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {each: {"content": {MEDIA_TYPE: {"schema": _PROBLEM}}} for each in statuses}


def _takes(shape: type[PredictionRequest] | type[BatchRequest]) -> dict[str, Any]:
    """The body is read raw, so that nothing wrong with it is lost; this is what it is."""
    schema = shape.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_REFUSALS = _problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 503)


@router.post(
    "/predict/{model}",
    tags=["predictions"],
    summary="Predict one row",
    openapi_extra=_takes(PredictionRequest),
    responses={200: {"model": Prediction}, **_REFUSALS},
)
async def predict(model: str, request: Request) -> Response:
    return await _answering(request).single(request, model)


@router.post(
    "/predict/{model}/batch",
    tags=["predictions"],
    summary="Predict 1 to 10 000 rows; one bad row refuses all",
    openapi_extra=_takes(BatchRequest),
    responses={200: {"model": BatchPrediction}, **_REFUSALS},
)
async def predict_batch(model: str, request: Request) -> Response:
    return await _answering(request).batch(request, model)


@router.post(
    "/predict/{model}/versions/{version}",
    tags=["predictions"],
    summary="Predict one row with a version",
    openapi_extra=_takes(PredictionRequest),
    responses={200: {"model": Prediction}, **_REFUSALS},
)
async def predict_version(model: str, version: VersionNumber, request: Request) -> Response:
    return await _answering(request).single(request, model, version)


@router.post(
    "/predict/{model}/versions/{version}/batch",
    tags=["predictions"],
    summary="Predict 1 to 10 000 rows with a version",
    openapi_extra=_takes(BatchRequest),
    responses={200: {"model": BatchPrediction}, **_REFUSALS},
)
async def predict_version_batch(model: str, version: VersionNumber, request: Request) -> Response:
    return await _answering(request).batch(request, model, version)


def _answering(request: Request) -> Answering:
    found: Answering = request.state.answering
    return found


@router.get("/models", tags=["models"], summary="Models that you may ask", responses=_problems(401, 503))
async def list_models(request: Request) -> dict[str, Any]:
    serving: Serving = request.state.serving
    return await serving.list_models(request)


@router.get(
    "/models/{model}",
    tags=["models"],
    summary="One model: its input contract as its deployment applies it, its scores, and what it takes",
    responses=_REFUSALS,
)
async def get_model(model: str, request: Request) -> dict[str, Any]:
    serving: Serving = request.state.serving
    found = await serving.find(request, model, None, READING)
    return facts(found, public_url=serving.public_url)


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


@router.get("/models/{model}/docs", include_in_schema=False)
async def get_model_page(request: Request) -> HTMLResponse:
    prefix = request.scope.get("root_path", "")
    return HTMLResponse(model_page(prefix=prefix, public_api_url=request.state.serving.public_api_url))


@router.post(
    "/models/{model}/unload",
    tags=["models"],
    summary="Take a model out of the memory of the process that answers",
    responses=_REFUSALS,
)
async def unload_model(model: str, request: Request) -> InMemory:
    operating: Operating = request.state.operating
    return await operating.unload(request, model)


@router.post(
    "/models/{model}/reload",
    tags=["models"],
    summary="Load a model from storage again, in the process that answers",
    responses=_REFUSALS,
)
async def reload_model(model: str, request: Request) -> InMemory:
    operating: Operating = request.state.operating
    return await operating.reload(request, model)


@router.get(
    "/stats",
    tags=["models"],
    summary="Counts and latencies since the start, for each model that you may ask",
    responses=_problems(401, 503),
)
async def stats(request: Request) -> dict[str, Any]:
    serving: Serving = request.state.serving
    return await serving.summaries(request)
