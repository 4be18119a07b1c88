"""The platform's loop in a few calls: upload, train, deploy. Each waits until the work is over."""

import csv
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from tests.verify.calling import Caller

EXAMPLES = Path(__file__).parents[2] / "examples"
FLIGHTS = EXAMPLES / "data" / "flights.csv"
FLIGHT_TIMES = EXAMPLES / "data" / "flight_times.csv"
PATIENCE_SECONDS = 90.0
POLL_SECONDS = 0.2

Json = dict[str, Any]
_JSON_TYPES = {"integer": int, "decimal": float, "string": str}


class NotDone(AssertionError):
    """Work of the platform did not come to its good end."""


class Row(NamedTuple):
    features: Json
    target: Any


def body_of(response: httpx2.Response) -> Any:
    if not response.is_success:
        asked = f"{response.request.method} {response.request.url.path}"
        raise NotDone(f"{asked} answered {response.status_code}: {response.text[:500]}")
    return response.json() if response.content else None


def upload(caller: Caller, content: bytes, *, name: str, file_name: str = "rows.csv", **form: str) -> Json:
    """Send a file and wait until the platform has understood or rejected it."""
    sent = {"data": {"name": name, **form}, "files": {"file": (file_name, content)}}
    return settled_dataset(caller, body_of(caller.api("POST", "/datasets", **sent))["id"])


def settled_dataset(caller: Caller, dataset_id: str) -> Json:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        dataset: Json = body_of(caller.api("GET", f"/datasets/{dataset_id}"))
        if dataset["status"] not in ("pending", "profiling"):
            return dataset
        time.sleep(POLL_SECONDS)
    raise NotDone(f"dataset {dataset_id} is still {dataset['status']} after {PATIENCE_SECONDS:g} s")


def finished_job(caller: Caller, job_id: str, *, patience_seconds: float = PATIENCE_SECONDS) -> Json:
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        job: Json = body_of(caller.api("GET", f"/jobs/{job_id}"))
        if job["status"] in ("succeeded", "failed", "cancelled"):
            return job
        time.sleep(POLL_SECONDS)
    raise NotDone(f"job {job_id} is still {job['status']} ({job['progress']}) after {patience_seconds:g} s")


def new_model(caller: Caller, dataset_id: str, **wishes: Any) -> Json:
    """Ask for a model: a small LightGBM classifier of `arrival`, unless `wishes` say otherwise."""
    wanted: Json = {
        "model_type": "classification",
        "framework": "lightgbm",
        "target": "arrival",
        "parameters": {"n_estimators": 60, "seed": 7}
        if wishes.get("framework", "lightgbm") == "lightgbm"
        else {},
        **wishes,
    }
    model: Json = body_of(caller.api("POST", "/models", json={"dataset_id": dataset_id, **wanted}))
    return model


def trained(caller: Caller, model: Json) -> Json:
    """Wait for a model's training, which must succeed."""
    job = finished_job(caller, model["job_id"])
    if job["status"] != "succeeded":
        raise NotDone(f"the training of {model['name']!r} is {job['status']}: {job['error']}")
    found: Json = body_of(caller.api("GET", f"/models/{model['id']}"))
    return found


def deploy(caller: Caller, model: Json, *, version: int | None = None) -> Json:
    body = {} if version is None else {"version": version}
    deployment: Json = body_of(caller.api("POST", f"/models/{model['id']}/deploy", json=body))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while deployment["status"] == "deploying" and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        deployment = body_of(caller.api("GET", f"/deployments/{deployment['deployment_id']}"))
    if deployment["status"] != "deployed":
        raise NotDone(
            f"the deployment of {model['name']!r} is {deployment['status']}: {deployment.get('reason')}"
        )
    return deployment


def rows_of(path: Path, dataset: Json, *, target: str) -> list[Row]:
    """The lines of a CSV file as JSON values; the profile says which columns are numbers, an empty cell is null."""
    convert = {column["name"]: _JSON_TYPES[column["type"]] for column in dataset["schema"]}
    rows = []
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            values = {name: convert[name](text) if text else None for name, text in line.items()}
            rows.append(Row(target=values.pop(target), features=values))
    return rows


def as_csv(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    lines = [",".join(head), *(",".join("" if cell is None else str(cell) for cell in row) for row in rows)]
    return ("\n".join(lines) + "\n").encode()
