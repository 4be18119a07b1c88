"""The whole loop over the public HTTP API: from a CSV file to predictions of a deployed model.

    make dev                                  # in one terminal
    python examples/python_client_demo.py     # in another, with the project's Python (.venv/bin/python)

It needs nothing of the platform but its two addresses: `MLP_BASE_URL` and `MLP_ML_URL`, or the `credentials.json` that
`make dev` writes into `PLATFORM_DATA_DIR` (`.data`). Read it from the bottom: `main` is the story, each step a function
above it. Each step checks what it got; the exit code is 0 only if every step held.
"""

import csv
import json
import math
import os
import secrets
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

FLIGHTS = Path(__file__).parent / "data" / "flights.csv"
PATIENCE_SECONDS = 30
"""How long a step is tried again while a service restarts (refused connections, 503)."""

BOOSTED = {"n_estimators": 1500, "learning_rate": 0.01, "seed": 7}
CANDIDATES: list[dict[str, Any]] = [
    {"framework": "scikit-learn", "parameters": {"n_estimators": 300, "seed": 7}},  # a random forest
    {"framework": "xgboost", "parameters": {**BOOSTED, "max_depth": 4}},
    {"framework": "lightgbm", "parameters": {**BOOSTED, "num_leaves": 15}},
]


class StepFailed(Exception):
    """One clear sentence about what did not hold."""


class Row(NamedTuple):
    """One line of the file as the API takes it, and what the file says about its target."""

    features: dict[str, Any]
    arrival: str


class Platform:
    """The two services, and who is calling. Nothing but plain HTTP."""

    def __init__(self, api_url: str, ml_url: str) -> None:
        self.api_url, self.ml_url = api_url, ml_url
        self.http = httpx2.Client(timeout=60)

    def require_running(self) -> None:
        """Say so at once if nothing listens; only later is a refused connection taken for a restart."""
        for url in (self.api_url, self.ml_url):
            try:
                self.http.get(f"{url}/health")
            except httpx2.TransportError as error:
                raise StepFailed(
                    f"{url} cannot be reached ({error}). Start the platform with `make dev`."
                ) from error

    def api(self, method: str, path: str, **request: Any) -> Any:
        """Call api-server. A creating POST carries a key, so that trying it again cannot create two."""
        if method == "POST":
            request.setdefault("headers", {})["Idempotency-Key"] = str(uuid.uuid4())
        return read(self.send(method, f"{self.api_url}/api/v1{path}", **request))

    def predict(self, path: str, **body: Any) -> Any:
        return read(self.send("POST", f"{self.ml_url}/predict/{path}", json=body))

    def send(self, method: str, url: str, **request: Any) -> httpx2.Response:
        """Send, and send again for a while if the service is just restarting."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                response = self.http.request(method, url, **request)
            except httpx2.TransportError as error:
                if time.monotonic() > deadline:
                    raise StepFailed(f"{url} cannot be reached any more ({error}).") from error
            else:
                if response.status_code != 503 or time.monotonic() > deadline:
                    return response
            time.sleep(0.5)

    def events(self, job_id: str) -> Iterator[tuple[str, Any]]:
        """Follow a job by server-sent events, from where we were if the connection breaks."""
        last_id, deadline = "0", time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                url, headers = f"{self.api_url}/api/v1/jobs/{job_id}/events", {"Last-Event-ID": last_id}
                with self.http.stream("GET", url, headers=headers) as response:
                    for event in httpx2.EventSource(response):
                        last_id, deadline = event.id, time.monotonic() + PATIENCE_SECONDS
                        yield event.event, event.json()
                return
            except httpx2.TransportError:
                time.sleep(0.5)


def read(response: httpx2.Response) -> Any:
    """The body of a success; an error of this platform says what is wrong, and its request id finds it in the logs."""
    if response.is_success:
        return response.json() if response.content else None
    if "problem+json" not in response.headers.get("content-type", ""):
        raise StepFailed(f"{response.request.method} {response.request.url} answered {response.status_code}.")
    problem = response.json()
    raise StepFailed(f"{problem['detail']} (HTTP {problem['status']}, request {problem['request_id']})")


def require(condition: bool, sentence: str) -> None:
    """Like assert, but also under `python -O`, and with a sentence for a person."""
    if not condition:
        raise StepFailed(sentence)


def reason(failed: dict[str, Any]) -> str:
    """Why a dataset or a job has failed: a problem too, kept in its `error`."""
    return str((failed["error"] or {}).get("detail", "no reason is given"))


# ---- the steps -----------------------------------------------------------------------------


def sign_up(platform: Platform) -> str:
    """Anyone can register; a token comes from the OAuth2 password form and goes into the Authorization header."""
    username, password = f"demo-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    account = {"username": username, "email": f"{username}@example.com", "password": password}
    made = platform.send("POST", f"{platform.api_url}/api/v1/auth/register", json=account)
    if made.status_code != 409:  # of a random name: our own first try, whose answer was lost
        read(made)
    tokens = platform.api("POST", "/auth/token", data={"username": username, "password": password})
    platform.http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    me = platform.api("GET", "/auth/me")
    require(me["username"] == username, f"signed in as {me['username']}, not as {username}")
    say(f"registered and signed in as {username} ({me['role']})")
    return username


def make_project(platform: Platform) -> str:
    """A project owns datasets and models; colleagues can be made members of it."""
    body = {"name": "Late flights", "description": "Which flights arrive late?", "tags": ["demo"]}
    project = platform.api("POST", "/projects", json=body)
    listed = [each["id"] for each in platform.api("GET", "/projects")["items"]]
    require(project["id"] in listed, "the new project is not in the list of projects")
    say(f"project {project['name']!r}, id {project['id']}")
    return str(project["id"])


def upload(platform: Platform, project_id: str) -> dict[str, Any]:
    """A file is accepted first and understood afterwards, by a background job: wait until it is `ready`."""
    form = {"name": "flights from New York", "project_id": project_id}
    files = {"file": (FLIGHTS.name, FLIGHTS.read_bytes(), "text/csv")}
    dataset = platform.api("POST", "/datasets", data=form, files=files)
    say(f"uploaded {FLIGHTS.name}: {dataset['file_size']} bytes, sha256 {dataset['digest'][:12]}…")
    deadline = time.monotonic() + 60
    while dataset["status"] in ("pending", "profiling") and time.monotonic() < deadline:
        time.sleep(0.3)
        dataset = platform.api("GET", f"/datasets/{dataset['id']}")
    require(dataset["status"] == "ready", f"the dataset is {dataset['status']}: {reason(dataset)}")
    return dict(dataset)


def show_profile(dataset: dict[str, Any]) -> None:
    """What the platform found out about each column; the model's input contract is made from this."""
    statistics = dataset["statistics"]
    rows = []
    for column in dataset["schema"]:
        found = statistics["columns"][column["name"]]
        if found["categories"]:
            values = ", ".join(f"{each['value']} ({each['count']})" for each in found["categories"][:3])
        else:
            values = f"{found['minimum']:g} to {found['maximum']:g}, mean {found['mean']:.4g}"
        rows.append([column["name"], column["type"], found["missing"], found["distinct"], values[:52]])
    table(["column", "type", "missing", "distinct", "values"], rows)
    with FLIGHTS.open(newline="") as file:
        expected = sum(1 for _ in csv.reader(file)) - 1
    counted = statistics["row_count"]
    require(counted == expected, f"{counted} rows were profiled, {expected} are in the file")


def train(platform: Platform, project_id: str, dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """A model with a dataset starts to train at once, as a job in the queue; follow each job's events."""
    models = []
    for candidate in CANDIDATES:
        body = {
            "name": f"late flights, {candidate['framework']}",
            "model_type": "classification",
            "project_id": project_id,
            "dataset_id": dataset["id"],
            "target": "arrival",
            **candidate,
        }
        models.append(platform.api("POST", "/models", json=body))
    for model in models:
        follow(platform, model)
    return [platform.api("GET", f"/models/{model['id']}") for model in models]


def follow(platform: Platform, model: dict[str, Any]) -> None:
    """Show the progress that the training library itself reports, until the job is over."""
    started, seen = time.monotonic(), set()
    for event, body in platform.events(model["job_id"]):
        if event == "progress":
            seen.add(body["percent"])
            bar(model["framework"], body["percent"], body["stage"])
    job = platform.api("GET", f"/jobs/{model['job_id']}")
    require(job["status"] == "succeeded", f"the training is {job['status']}: {reason(job)}")
    require(len(seen) >= 5, f"only {len(seen)} values of progress were reported for {model['framework']}")
    took = f"{time.monotonic() - started:.1f} s"
    bar(model["framework"], 100, f"version {job['result']['version']} in {took}", end="\n")


def compare(models: list[dict[str, Any]]) -> dict[str, Any]:
    """Scores on the rows that were held out of the training. The better ROC AUC wins."""
    names = ["roc_auc", "balanced_accuracy", "accuracy", "f1_macro", "log_loss"]
    rows = [[model["framework"], *(f"{model['metrics'][name]:.4f}" for name in names)] for model in models]
    table(["framework", *names], rows)
    best = max(models, key=lambda model: float(model["metrics"]["roc_auc"]))
    require(best["metrics"]["roc_auc"] > 0.8, "no model can tell late flights from others (ROC AUC <= 0.8)")
    say(f"best: {best['framework']}")
    return best


def deploy(platform: Platform, model: dict[str, Any]) -> str:
    """Put the version behind the model's endpoint. It answers once its answers equal those seen in training."""
    deployment = platform.api("POST", f"/models/{model['id']}/deploy", json={"version": model["version"]})
    while deployment["status"] == "deploying":
        time.sleep(0.5)
        deployment = platform.api("GET", f"/deployments/{deployment['deployment_id']}")
    require(deployment["status"] == "deployed", f"the deployment is {deployment['status']}")
    say(f"version {deployment['version']} answers at {deployment['url']}")
    return str(deployment["endpoint"])


def predict(platform: Platform, endpoint: str, rows: Sequence[Row]) -> None:
    """One row, many rows, with probabilities: the same answers each way. Fields are matched by name, in any order."""
    single = platform.predict(endpoint, input_data=rows[0].features)
    sure, took = single["confidence_score"], single["processing_time"]
    say(f"one row: {single['prediction']!r} with confidence {sure:.3f}, in {took:.1f} ms")
    shuffled = [dict(reversed(row.features.items())) for row in rows]
    batch = platform.predict(f"{endpoint}/batch", inputs=shuffled, return_probabilities=True)
    answers = batch["predictions"]
    require(len(answers) == len(rows), f"{len(answers)} answers to {len(rows)} rows")
    require(answers[0]["prediction"] == single["prediction"], "the batch answers the first row otherwise")
    totals = [sum(each["probabilities"].values()) for each in answers]
    require(all(math.isclose(total, 1, abs_tol=1e-6) for total in totals), "probabilities do not add up to 1")
    hits = sum(answer["prediction"] == row.arrival for answer, row in zip(answers, rows, strict=True))
    each_took = f"{batch['average_time_per_prediction']:.3f} ms each"
    say(f"{len(rows)} rows in one request, {each_took}: {hits} as in the file (most were learnt from)")
    shown = []
    for row, answer in zip(rows[:6], answers[:6], strict=True):
        known = [row.features[name] for name in ("airline", "destination", "departure_delay_minutes")]
        shown.append([*known, answer["prediction"], f"{answer['probabilities']['late']:.3f}", row.arrival])
    table(["airline", "to", "delay at departure", "prediction", "P(late)", "in the file"], shown)


def send_a_bad_request(platform: Platform, endpoint: str, good: Row) -> None:
    """Every error of the request is named at once, with its row, field and hint. Nothing is guessed or converted."""
    misspelt = {**good.features, "distance_mile": 500}
    del misspelt["distance_miles"]
    mistyped = {**good.features, "month": "May", "departure_hour": 7.5, "airline": None}
    url = f"{platform.ml_url}/predict/{endpoint}/batch"
    response = platform.send("POST", url, json={"inputs": [good.features, misspelt, mistyped]})
    problem = response.json()
    say(f"HTTP {response.status_code}, {response.headers['content-type']}: {problem['detail']}")
    names = ["row", "field", "code", "got", "hint"]
    table(names, [[each.get(name, "") for name in names] for each in problem["errors"]])
    found = {(each["row"], each["field"], each["code"]) for each in problem["errors"]}
    expected = {
        (1, "distance_miles", "missing_field"),
        (1, "distance_mile", "unknown_field"),
        (2, "month", "wrong_type"),
        (2, "departure_hour", "wrong_type"),
        (2, "airline", "null_not_allowed"),
    }
    require(response.status_code == 422, f"a bad request is answered with {response.status_code}, not 422")
    require(found == expected, f"the problem names {sorted(found)}, not {sorted(expected)}")


def keep_a_record(platform: Platform, endpoint: str, row: Row) -> None:
    """Asked through api-server, a prediction is the same and stays in your history."""
    body = {"model_id": endpoint, "input_data": row.features}
    kept = platform.api("POST", "/predictions", json=body)
    direct = platform.predict(endpoint, input_data=row.features)
    require(kept["prediction"] == direct["prediction"], "the two services answer one row differently")
    history = [each["prediction_id"] for each in platform.api("GET", "/predictions")["items"]]
    require(kept["prediction_id"] in history, "the prediction is not in the history")
    say(f"prediction {kept['prediction_id']} is in your history")


def where_next(platform: Platform, endpoint: str, model: dict[str, Any], username: str) -> None:
    places = [
        ["try every call in the browser", f"{platform.api_url}/docs"],
        ["the prediction service's calls", f"{platform.ml_url}/docs"],
        ["this model's own typed schema", f"{platform.ml_url}/models/{endpoint}/openapi.json"],
        ["send rows here", f"POST {platform.ml_url}/predict/{endpoint}"],
        [f"what {username} has asked", f"GET {platform.api_url}/api/v1/predictions"],
        ["versions and their manifests", f"GET {platform.api_url}/api/v1/models/{model['id']}/versions"],
        ["what answered when", f"GET {platform.api_url}/api/v1/endpoints/{endpoint}"],
        ["the same calls with curl", "examples/README.md"],
    ]
    table(["what", "where"], places)
    schema = platform.send("GET", f"{platform.ml_url}/models/{endpoint}/openapi.json")
    require(schema.is_success, f"the model's own schema answered {schema.status_code}")


# ---- rows and printing ---------------------------------------------------------------------

JSON_TYPES = {"integer": int, "decimal": float, "string": str}


def read_rows(dataset: dict[str, Any], *, first: int, count: int) -> list[Row]:
    """Lines of the file as JSON values: the profile says which column is a number; an empty cell is null."""
    convert = {column["name"]: JSON_TYPES[column["type"]] for column in dataset["schema"]}
    with FLIGHTS.open(newline="") as file:
        lines = list(csv.DictReader(file))[first : first + count]
    rows = []
    for line in lines:
        values = {name: convert[name](text) if text else None for name, text in line.items()}
        rows.append(Row(arrival=str(values.pop("arrival")), features=values))
    return rows


def say(sentence: str) -> None:
    print(f"    {sentence}", flush=True)


def heading(number: int, title: str) -> None:
    print(f"\n{number}. {title}", flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    for line in lines:
        say(line)


def bar(name: str, percent: float, stage: str, *, end: str = "") -> None:
    """Draw over the line before on a terminal; in a log, each value is a line of its own."""
    filled = round(percent / 5)
    line = f"    {name:<13}{'█' * filled}{'░' * (20 - filled)} {percent:5.1f} %  {stage}"
    if sys.stdout.isatty():
        print(f"\r\x1b[K{line}", end=end, flush=True)
    else:
        print(line, flush=True)


def find_platform() -> Platform:
    """The environment first, then what `make dev` wrote down, then the default ports."""
    file = Path(os.environ.get("PLATFORM_DATA_DIR", ".data")) / "credentials.json"
    written = json.loads(file.read_text()) if file.is_file() else {}
    api_url = os.environ.get("MLP_BASE_URL") or written.get("api_url") or "http://127.0.0.1:8000"
    ml_url = os.environ.get("MLP_ML_URL") or written.get("ml_url") or "http://127.0.0.1:8001"
    return Platform(api_url.rstrip("/"), ml_url.rstrip("/"))


def main() -> None:
    platform = find_platform()
    platform.require_running()
    heading(1, "Register and sign in")
    username = sign_up(platform)
    heading(2, "Make a project")
    project_id = make_project(platform)
    heading(3, "Upload a data set: 4 000 real flights")
    dataset = upload(platform, project_id)
    heading(4, "What the platform found in it")
    show_profile(dataset)
    heading(5, "Train three models to predict `arrival`: late or on_time")
    models = train(platform, project_id, dataset)
    heading(6, "Compare them on rows they have not seen")
    best = compare(models)
    heading(7, "Deploy the best")
    endpoint = deploy(platform, best)
    heading(8, "Predict")
    rows = read_rows(dataset, first=1100, count=200)
    predict(platform, endpoint, rows)
    keep_a_record(platform, endpoint, rows[0])
    heading(9, "What a bad request gets")
    send_a_bad_request(platform, endpoint, rows[0])
    heading(10, "Where to look next")
    where_next(platform, endpoint, best, username)


if __name__ == "__main__":
    try:
        main()
    except StepFailed as failure:
        sys.exit(f"\nThis step did not hold: {failure}")
    print("\nEvery step held.")
