"""From a request's bytes to its answer's bytes, for one loaded version. Synchronous and free of I/O."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from ml_service.artifacts.predictor import Answer
from ml_service.serving.errors import InvalidInput, ModelUnavailable, NotAvailable
from ml_service.serving.loaded_models import LoadedVersion
from ml_service.serving.request_body import many_rows, parse, single_row
from platform_kit.contract.inputs import CheckedRow
from platform_kit.contract.problem import Issue

MOST_ISSUES = 1000
"""A batch may be wrong in more places than anybody reads."""


@dataclass(frozen=True, slots=True)
class Answered:
    body: bytes
    rows: int


def answer_single(
    version: LoadedVersion, raw: bytes, *, model_id: str, number: int = 0, began: float | None = None
) -> Answered:
    """Answer one row. number: the version's; began: `time.perf_counter()` of the request's arrival.

    Raises Malformed, InvalidInput, NotAvailable.
    """
    started = began if began is not None else time.perf_counter()
    row, options = single_row(parse(raw))
    if options.explain:
        raise NotAvailable("Explanations are not available yet; leave `explain` out.")
    checked = version.check(row, pointer=("input_data",))
    _refuse([checked])
    answer = _predict(version, [checked])[0]
    body = {
        "model_id": model_id,
        **_answer_fields(answer, with_probabilities=options.return_probabilities),
        "processing_time": round((time.perf_counter() - started) * 1000, 3),
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "prediction_id": str(uuid4()),
        "metadata": _metadata(version, number, checked.warnings),
    }
    return Answered(_dump(body), rows=1)


def answer_batch(
    version: LoadedVersion, raw: bytes, *, model_id: str, number: int = 0, began: float | None = None
) -> Answered:
    """Answer many rows, or none: one that is wrong refuses all, and every error is named."""
    started = began if began is not None else time.perf_counter()
    rows, options = many_rows(parse(raw))
    checked = [version.check(row, pointer=("inputs", index), index=index) for index, row in enumerate(rows)]
    _refuse(checked)
    answers = _predict(version, checked)
    predictions = [
        {
            **_answer_fields(each, with_probabilities=options.return_probabilities),
            "prediction_id": str(uuid4()),
        }
        for each in answers
    ]
    warnings = [warning for row in checked for warning in row.warnings]
    total = (time.perf_counter() - started) * 1000
    body = {
        "model_id": model_id,
        "predictions": predictions,
        "total_processing_time": round(total, 3),
        "average_time_per_prediction": round(total / len(predictions), 6),
        "metadata": _metadata(version, number, warnings[:MOST_ISSUES]),
    }
    return Answered(_dump(body), rows=len(predictions))


def _refuse(checked: Sequence[CheckedRow]) -> None:
    errors = [error for row in checked for error in row.errors]
    if not errors:
        return
    bad_rows = sum(bool(row.errors) for row in checked)
    named = ", ".join(list(dict.fromkeys(each.field or each.pointer for each in errors))[:10])
    where = f" in {bad_rows} of {len(checked)} rows" if len(checked) > 1 else ""
    more = f" The first {MOST_ISSUES} are listed." if len(errors) > MOST_ISSUES else ""
    raise InvalidInput(
        f"{len(errors)} {'error' if len(errors) == 1 else 'errors'}{where}; please mend {named}.{more}",
        errors=errors[:MOST_ISSUES],
    )


def _predict(version: LoadedVersion, rows: list[CheckedRow]) -> list[Answer]:
    try:
        return version.predict(rows)
    except ArithmeticError as error:
        raise ModelUnavailable(f"The model has no finite answer to this input: {error}.") from error


def _answer_fields(answer: Answer, *, with_probabilities: bool) -> dict[str, Any]:
    prediction, probabilities = answer
    return {
        "prediction": prediction,
        "confidence_score": max(probabilities.values()) if probabilities else None,
        "probabilities": probabilities if with_probabilities else None,
    }


def _metadata(version: LoadedVersion, number: int, warnings: list[Issue]) -> dict[str, Any]:
    return {
        "model_version": number,
        "digest": version.digest,
        "cache_used": False,
        "warnings": [each.model_dump(mode="json", exclude_none=True) for each in warnings],
    }


def _dump(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
