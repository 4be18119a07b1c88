"""The proof of a deployment: rows that training kept, answered through the public JSON path, must answer the same."""

import json
import time

from ml_service.serving.answers import single_answer
from ml_service.serving.found import Found
from ml_service.serving.loaded_models import LoadedVersion
from ml_service.serving.predicting import Said
from ml_service.serving.understanding import understood_single
from ml_service.serving.wanted import Wanted
from platform_kit.contract.artifact import GoldenRow, Task
from platform_kit.contract.labels import label_key
from platform_kit.contract.serving_options import ServingOptions
from platform_kit.plumbing.problems import Problem

NAMED_DIFFERENCES = 5


def objection(version: LoadedVersion, wanted: Wanted) -> str | None:
    """Why the version must not be served so; None: it may. Blocks."""
    if wanted.options is None:
        return "It has an option that this process does not know"
    manifest = version.manifest
    issues = wanted.options.issues(contract=manifest.contract, task=manifest.task, classes=manifest.classes)
    if issues:
        named = (f"{each.pointer} is {each.got}, not {each.expected}" for each in issues[:NAMED_DIFFERENCES])
        return "Its options do not fit the model: " + "; ".join(named)
    found = differences(version)
    return reason(found) if found else None


def differences(version: LoadedVersion) -> list[str]:
    """What differs from training, a sentence each; empty: the version holds. Blocks.

    The version answers by itself here: a deployment may want other answers than training gave.
    """
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
        answer = json.loads(_answered(version, request))
    except Problem as refusal:
        return [f"refused: {refusal.detail}"]
    if version.manifest.task is Task.REGRESSION:
        return _numbers(version, {"prediction": row.prediction}, {"prediction": answer["prediction"]})
    if label_key(answer["prediction"]) != label_key(row.prediction):
        return [f"prediction is {answer['prediction']!r}, not {row.prediction!r}"]
    return _numbers(version, dict(row.probabilities or {}), answer["probabilities"] or {})


def _answered(version: LoadedVersion, request: bytes) -> bytes:
    own = version.under(ServingOptions(), "{}")
    manifest = version.manifest
    found = Found("golden", "golden", "golden", manifest.framework, manifest.task, 0, version, own)
    understood = understood_single(own, request)
    scored = version.predictor.score(version.predictor.encode(understood.rows))[0]
    return single_answer(found, Said(scored, from_cache=False), understood.options, began=time.perf_counter())


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
