"""How the services behave towards any program that calls them."""

import json
import secrets

from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from tests.verify.calling import Caller
from tests.verify.loop import Json
from tests.verify.registry import expect, expect_problem, expect_status, promise
from tests.verify.scene import Scene
from tests.verify.serving import DEMO_ROW

FEWEST_OPERATIONS = 30


@promise("S26 S67", "every error of both services is a problem with a code, a sentence and a request id")
def problems(scene: Scene) -> str:
    nobody, someone = scene.nobody, scene.stranger
    json_text = {"Content-Type": "application/json"}
    unknown = "00000000-0000-4000-8000-000000000000"
    wrong = [
        (401, nobody.api("GET", "/projects")),
        (404, nobody.api("GET", "/no-such-route")),
        (405, nobody.api("DELETE", "/auth/token")),
        (400, nobody.api("POST", "/auth/register", content=b"{", headers=json_text)),
        (422, nobody.api("POST", "/auth/register", json=["a", "list"])),
        (422, someone.api("GET", "/projects/not-a-uuid")),
        (404, someone.api("GET", f"/datasets/{unknown}")),
        (422, someone.api("GET", "/models", params={"sort": "no_such_field"})),
        (404, nobody.ml("GET", "/no-such-route")),
        (405, nobody.ml("DELETE", "/models")),
        (400, nobody.ml("POST", "/predict/demo_model_1", content=b"{", headers=json_text)),
        (422, nobody.ml("POST", "/predict/demo_model_1", json={"rows": []})),
    ]
    for status, response in wrong:
        expect_problem(response, status)
    return f"{len(wrong)} kinds of mistakes on both services, each answered with a whole problem"


@promise("S85", "a caller's request id comes back, on both services")
def request_ids(scene: Scene) -> str:
    mine = f"verify-{secrets.token_hex(6)}"
    for response in (
        scene.nobody.api("GET", "//health", headers={"X-Request-ID": mine}),
        scene.nobody.ml("GET", "/health", headers={"X-Request-ID": mine}),
    ):
        expect(
            response.headers.get("x-request-id") == mine, f"{response.request.url} gave {response.headers}"
        )
    problem = expect_problem(scene.nobody.api("GET", "/projects", headers={"X-Request-ID": mine}), 401)
    expect(problem["request_id"] == mine, f"the problem has {problem['request_id']}")
    return f"{mine} in both headers and in a problem"


@promise(
    "S117", "the API documents itself: valid OpenAPI, Swagger pages, a summary and one id for each operation"
)
def openapi(scene: Scene) -> str:
    counts = []
    for name, call in (("api-server", scene.nobody.api), ("ml-service", scene.nobody.ml)):
        document = _openapi(scene.nobody, name)
        validate(document)
        operations = _operations(document)
        ids = [each["operationId"] for _, _, each in operations]
        expect(len(ids) == len(set(ids)), f"{name} has an operation id twice")
        mute = [f"{method} {path}" for method, path, each in operations if not each.get("summary")]
        expect(not mute, f"{name} has operations without a summary: {mute}")
        page = call("GET", "//docs" if name == "api-server" else "/docs")
        expect("swagger" in page.text.lower(), f"{name} has no Swagger page")
        counts.append(f"{name} {len(ids)} operations")
    return ", ".join(counts)


@promise("S101", "at least 30 operations, and every list among them answers")
def operations_answer(scene: Scene) -> str:
    api = _operations(_openapi(scene.nobody, "api-server"))
    count = len(api) + len(_operations(_openapi(scene.nobody, "ml-service")))
    expect(count >= FEWEST_OPERATIONS, f"there are {count} operations")
    plain = [
        path for method, path, _ in api if method == "get" and "{" not in path and path.startswith("/api/v1/")
    ]
    for path in plain:
        expect_status(scene.maker.api("GET", path.removeprefix("/api/v1")), 200, 403)
    return f"{count} operations; {len(plain)} lists and pages of api-server answered"


def _openapi(caller: Caller, name: str) -> Json:
    response = (
        caller.api("GET", "//openapi.json") if name == "api-server" else caller.ml("GET", "/openapi.json")
    )
    document: Json = expect_status(response, 200)
    return document


def _operations(document: Json) -> list[tuple[str, str, Json]]:
    """(method, path, operation) of each public operation."""
    verbs = {"get", "post", "put", "patch", "delete"}
    found = [
        (verb, path, each)
        for path, item in document["paths"].items()
        for verb, each in item.items()
        if verb in verbs
    ]
    return [each for each in found if not each[1].startswith("/internal")]


@promise("S86", "health and readiness say what they need, part by part")
def health(scene: Scene) -> str:
    seen = []
    for name, live, ready in (
        ("api-server", scene.nobody.api("GET", "//health"), scene.nobody.api("GET", "//health/ready")),
        ("ml-service", scene.nobody.ml("GET", "/health"), scene.nobody.ml("GET", "/health/ready")),
    ):
        expect(set(expect_status(live, 200)) >= {"status", "version"}, f"/health of {name} says {live.text}")
        body = expect_status(ready, 200)
        expect(
            all(each["ok"] for each in body["checks"].values()),
            f"{name} is ready with a failed check: {body}",
        )
        seen.append(f"{name}: {', '.join(body['checks'])}")
    expect(
        set(scene.nobody.api("GET", "//health/ready").json()["checks"]) >= {"postgres", "broker", "storage"},
        str(seen),
    )
    return "; ".join(seen)


@promise("S77 S78", "both services publish Prometheus metrics that count what happens")
def metrics(scene: Scene) -> str:
    before = (
        _samples(scene.nobody.ml("GET", "/metrics").text),
        _samples(scene.nobody.api("GET", "//metrics").text),
    )
    for _ in range(5):
        expect_status(scene.nobody.predict("demo_model_1", DEMO_ROW), 200)
        expect_status(scene.nobody.api("GET", "/algorithms"), 200)
    after = (
        _samples(scene.nobody.ml("GET", "/metrics").text),
        _samples(scene.nobody.api("GET", "//metrics").text),
    )
    grown = [
        sum(later.get(name, 0) - old.get(name, 0) >= 5 for name in later)
        for old, later in zip(before, after, strict=True)
    ]
    expect(
        all(grown),
        f"after five requests {grown[0]} counters of ml-service and {grown[1]} of api-server grew by five",
    )
    return (
        f"{len(after[0])} and {len(after[1])} samples; five requests moved {grown[0]} and {grown[1]} counters"
    )


def _samples(text: str) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.endswith("_total") or sample.name.endswith("_count")
    }


@promise(
    "S84", "the services write structured logs: a JSON object a line, with time, level, service and message"
)
def logs(scene: Scene) -> str:
    wanted = {"@timestamp", "log.level", "service.name", "message"}
    counts = []
    for name in ("api-server", "ml-service", "relay"):
        lines = (scene.data_dir / "logs" / f"{name}.log").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        poor = [event for event in events if not wanted <= event.keys() or event["service.name"] != name]
        expect(events and not poor, f"{name}.log has {len(events)} lines; incomplete: {poor[:1]}")
        secret = scene.maker.password
        expect(not any(secret in line for line in lines), f"{name}.log holds a password")
        counts.append(f"{name} {len(events)}")
    return f"lines: {', '.join(counts)}; each is complete, none holds the password of an account"


@promise("S63 S65 S66", "statistics count successes and failures of each model")
def statistics_of_models(scene: Scene) -> str:
    before = expect_status(scene.maker.ml("GET", "/stats"), 200)["global"]
    expect_status(scene.maker.predict(scene.model["endpoint"], scene.rows[0].features), 200)
    expect_problem(scene.maker.predict(scene.model["endpoint"], {"nonsense": 1}), 422)
    after = expect_status(scene.maker.ml("GET", "/stats"), 200)["global"]
    grown = after["total_requests"] - before["total_requests"]
    expect(grown >= 2, f"two requests raised the count by {grown}")
    expect(0 < after["success_rate"] < 1, f"after a failure the success rate is {after['success_rate']}")
    return f"{after['total_requests']} requests, success rate {after['success_rate']:.3f}"


@promise(
    "S1", "lists come in pages without gaps or repeats; a repeated creation with its key makes one thing"
)
def lists_and_keys(scene: Scene) -> str:
    caller = scene.newcomer()
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    made = [
        expect_status(caller.api("POST", "/projects", json={"name": "once"}, headers=headers), 201)
        for _ in range(2)
    ]
    expect(made[0]["id"] == made[1]["id"], "the repeated request made a second project")
    expect_problem(caller.api("POST", "/projects", json={"name": "other"}, headers=headers), 422)
    for number in range(6):
        expect_status(caller.api("POST", "/projects", json={"name": f"page {number}"}), 201)
    seen, cursor = [], None
    while True:
        page = expect_status(
            caller.api("GET", "/projects", params={"limit": 3, **({"cursor": cursor} if cursor else {})}), 200
        )
        seen += [each["name"] for each in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    expect(len(seen) == len(set(seen)) == page["total"], f"{len(seen)} of {page['total']}: {seen}")
    expect({f"page {number}" for number in range(6)} <= set(seen), f"the pages show {seen}")
    return f"{len(seen)} projects in pages of three, each once; the key made one"
