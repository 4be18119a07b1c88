"""The proof of a deployment: rows that training kept, answered through the public JSON path, must answer the same."""

import json

from ml_service.artifacts.labels import label_key
from ml_service.serving.answers import answer_single
from ml_service.serving.loaded_models import LoadedVersion
from platform_kit.contract.artifact import GoldenRow, Task
from platform_kit.plumbing.problems import Problem

NAMED_DIFFERENCES = 5


def differences(version: LoadedVersion) -> list[str]:
    """What differs from training, a sentence each; empty: the version holds. Blocks."""
    found: list[str] = []
    for number, row in enumerate(version.manifest.golden_rows):
        found.extend(f"golden row {number}: {each}" for each in _compare(version, row))
    return found


def reason(found: list[str]) -> str:
    more = f" (and {len(found) - NAMED_DIFFERENCES} more)" if len(found) > NAMED_DIFFERENCES else ""
    return "It does not answer as it did in training: " + "; ".join(found[:NAMED_DIFFERENCES]) + more


def _compare(version: LoadedVersion, row: GoldenRow) -> list[str]:
    request = json.dumps({"input_data": row.input, "return_probabilities": True}).encode()
    try:
        answer = json.loads(answer_single(version, request, model_id="golden").body)
    except Problem as refusal:
        return [f"refused: {refusal.detail}"]
    if version.manifest.task is Task.REGRESSION:
        return _numbers(version, {"prediction": row.prediction}, {"prediction": answer["prediction"]})
    if label_key(answer["prediction"]) != label_key(row.prediction):
        return [f"prediction is {answer['prediction']!r}, not {row.prediction!r}"]
    return _numbers(version, dict(row.probabilities or {}), answer["probabilities"] or {})


def _numbers(version: LoadedVersion, expected: dict[str, object], got: dict[str, object]) -> list[str]:
    found = []
    for name, before in expected.items():
        now = got.get(name)
        if (
            not isinstance(before, int | float)
            or not isinstance(now, int | float)
            or abs(now - before) > version.manifest.tolerance * max(1.0, abs(before))
        ):
            found.append(f"{name} is {now!r}, not {before!r}")
    return found
