"""What is answered: the bytes of one prediction or of many."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from ml_service.artifacts.predictor import Scored
from ml_service.serving.findings import MOST_ISSUES
from ml_service.serving.finishing import Finished
from ml_service.serving.found import Found
from ml_service.serving.ids import new_id
from ml_service.serving.predicting import Said
from ml_service.serving.request_body import Options
from platform_kit.contract.prediction import Explanation
from platform_kit.contract.problem import Issue


def single_answer(
    found: Found,
    said: Said,
    options: Options,
    *,
    began: float,
    warnings: Sequence[Issue] = (),
    explanation: Explanation | None = None,
) -> bytes:
    """began: `time.perf_counter()` of the request's arrival."""
    finished = found.servable.finished(said.scored)
    metadata = _metadata(found, said.from_cache, warnings)
    if finished.abstained:
        metadata["abstained"] = True
    body = {
        "model_id": found.model_id,
        **_fields(found, finished, options),
        "processing_time": round((time.perf_counter() - began) * 1000, 3),
        "timestamp": datetime.now(UTC),
        "prediction_id": new_id(),
        "metadata": metadata,
    }
    if explanation is not None:
        body["explanation"] = _explained(explanation)
    return _dump(body)


def batch_answer(
    found: Found,
    said: Sequence[Said],
    options: Options,
    *,
    began: float,
    warnings: Sequence[Issue] = (),
    explanations: Sequence[Explanation] = (),
) -> bytes:
    predictions = [_item(found, each.scored, options) for each in said]
    for item, explanation in zip(predictions, explanations, strict=False):
        item["explanation"] = _explained(explanation)
    total = round((time.perf_counter() - began) * 1000, 3)
    return _dump(
        {
            "model_id": found.model_id,
            "predictions": predictions,
            "total_processing_time": total,
            "average_time_per_prediction": total / len(predictions),
            "metadata": {
                **_metadata(found, all(each.from_cache for each in said), warnings[:MOST_ISSUES]),
                "cache_hits": sum(each.from_cache for each in said),
            },
        }
    )


def _item(found: Found, scored: Scored, options: Options) -> dict[str, Any]:
    finished = found.servable.finished(scored)
    item = {**_fields(found, finished, options), "prediction_id": new_id()}
    if finished.abstained:
        item["abstained"] = True
    return item


def _fields(found: Found, finished: Finished, options: Options) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "prediction": finished.prediction,
        "confidence_score": finished.confidence,
        "probabilities": finished.probabilities if options.return_probabilities else None,
    }
    if found.servable.output_name is not None:
        fields["outputs"] = {found.servable.output_name: finished.prediction}
    return fields


def _metadata(found: Found, from_cache: bool, warnings: Sequence[Issue]) -> dict[str, Any]:
    return {
        "model_version": found.number,
        "digest": found.version.digest,
        "cache_used": from_cache,
        "warnings": [each.model_dump(mode="json", exclude_none=True) for each in warnings],
    }


def _explained(explanation: Explanation) -> dict[str, Any]:
    return explanation.model_dump(mode="json")


def _dump(body: dict[str, Any]) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_UTC_Z)
