"""The wire between the services, frozen: both sides must go on reading every golden file that was ever released.

After a compatible change, write the files anew with: WRITE_GOLDEN=1 make test ARGS=tests/contract
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from platform_kit.contract import access, artifact, jobs, prediction, problem, serving

GOLDEN = Path(__file__).parent / "golden"
SHAPES: list[type[BaseModel]] = [
    access.IntrospectionRequest,
    access.Introspection,
    access.Notice,
    access.Refusals,
    artifact.Manifest,
    jobs.ClaimRequest,
    jobs.Claim,
    jobs.Heartbeat,
    jobs.HeartbeatReply,
    jobs.Finish,
    prediction.Prediction,
    prediction.BatchPrediction,
    problem.ProblemDetail,
    serving.ReplicaReport,
    serving.ServingState,
    serving.ModelLookup,
]


def schema(shape: type[BaseModel]) -> dict[str, Any]:
    return TypeAdapter(shape).json_schema(mode="serialization")


def holds(old: Any, new: Any) -> bool:
    """Whether everything that the old message said is still there; a newer one may say more."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(
            name in new and holds(each, new[name]) for name, each in old.items()
        )
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(holds, old, new))
    return bool(old == new)


class TestSchemas:
    @pytest.mark.parametrize("shape", SHAPES, ids=lambda each: each.__name__)
    def test_are_as_released(self, shape: type[BaseModel]) -> None:
        path = GOLDEN / f"{shape.__name__}.schema.json"
        if os.environ.get("WRITE_GOLDEN"):
            path.write_text(json.dumps(schema(shape), indent=1, sort_keys=True) + "\n")

        assert schema(shape) == json.loads(path.read_text()), (
            "a change of the wire: see this file's first lines"
        )


class TestMessages:
    @pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.v1.json")), ids=lambda each: each.name)
    def test_of_the_first_release_are_still_read(self, path: Path) -> None:
        shapes = {each.__name__: each for each in SHAPES}
        shape = shapes[path.name.split(".")[0]]
        text = path.read_text()

        message = shape.model_validate_json(text)

        assert holds(json.loads(text), json.loads(message.model_dump_json()))

    def test_are_there(self) -> None:
        names = {path.name.split(".")[0] for path in GOLDEN.glob("*.v1.json")}

        assert {"Claim", "Heartbeat", "Finish", "Manifest", "ServingState", "ReplicaReport"} <= names

    def test_digest_of_a_manifest_never_changes(self) -> None:
        """Every version ever trained is known by this number."""
        manifest = artifact.Manifest.model_validate_json((GOLDEN / "Manifest.v1.json").read_text())

        assert manifest.digest() == (GOLDEN / "Manifest.v1.digest").read_text().strip()
