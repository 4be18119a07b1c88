"""Predictions."""

import math
import os
import random
import statistics
import time

from prometheus_client.parser import text_string_to_metric_families

from tests.verify.loop import Json, deploy, new_model, trained
from tests.verify.registry import Broken, expect, expect_problem, expect_status, issues_of, promise
from tests.verify.scene import Scene

DEMO_ROW: Json = {"feature1": 0.5, "feature2": 1.2, "feature3": -0.3, "feature4": 2.0}
TYPICAL_MILLISECONDS = 50.0


@promise("S2 S39", "deploying is what makes a model answer, with the version that was registered")
def deployment_has_effect(scene: Scene) -> str:
    caller, row = scene.maker, scene.rows[0].features
    model = trained(caller, new_model(caller, scene.flights["id"], name="deployed later"))
    expect_problem(caller.predict(model["id"], row), 409)
    deployment = deploy(caller, model)
    answer = expect_status(caller.predict(model["id"], row), 200)
    by_name = expect_status(caller.predict(deployment["endpoint"], row), 200)
    version = expect_status(caller.api("GET", f"/models/{model['id']}/versions/1"), 200)
    expect(answer["metadata"]["digest"] == version["digest"], "it answers with something else than version 1")
    expect(answer["prediction"] == by_name["prediction"], "the id and the endpoint's name answer differently")
    expect_status(caller.api("DELETE", f"/endpoints/{deployment['endpoint']}"), 204)
    seconds = _seconds_until_gone(scene, model["id"], row)
    return (
        f"409 before, digest {version['digest'][:12]}… after, 409 again {seconds:.1f} s after it was retired"
    )


def _seconds_until_gone(scene: Scene, model_id: str, row: Json) -> float:
    started = time.monotonic()
    while (status := scene.maker.predict(model_id, row).status_code) != 409:
        seconds = time.monotonic() - started
        expect(seconds < 5, f"{seconds:.0f} s after it was retired it answers {status}")
        time.sleep(0.1)
    return time.monotonic() - started


@promise("S51", "features are matched by name: their order does not matter, and their values do")
def by_name(scene: Scene) -> str:
    row = scene.rows[0].features
    model = scene.model["endpoint"]
    straight = _probabilities(scene, model, row)
    for seed in range(5):
        names = list(row)
        random.Random(seed).shuffle(names)
        shuffled = _probabilities(scene, model, {name: row[name] for name in names})
        expect(shuffled == straight, f"another order of the same features gives {shuffled}, not {straight}")
    delayed = _probabilities(scene, model, {**row, "departure_delay_minutes": 180})
    expect(
        delayed["late"] > straight["late"] + 0.3,
        f"three hours of delay move P(late) only to {delayed['late']:.3f}",
    )
    return f"five orders, one answer; P(late) {straight['late']:.3f}, with 3 h of delay {delayed['late']:.3f}"


def _probabilities(scene: Scene, model: str, row: Json) -> dict[str, float]:
    answer = expect_status(scene.maker.predict(model, row, return_probabilities=True), 200)
    found: dict[str, float] = answer["probabilities"]
    return found


@promise("S52", "probabilities add up to one, and prediction and confidence follow from them")
def probabilities(scene: Scene) -> str:
    rows = [row.features for row in scene.rows[:50]]
    answers = expect_status(
        scene.maker.predict_batch(scene.model["endpoint"], rows, return_probabilities=True), 200
    )
    for each in answers["predictions"]:
        shares = each["probabilities"]
        expect(set(shares) == {"late", "on_time"}, f"the classes are {sorted(shares)}")
        expect(
            math.isclose(sum(shares.values()), 1, abs_tol=1e-9), f"{shares} add up to {sum(shares.values())}"
        )
        expect(
            each["prediction"] == max(shares, key=lambda label: shares[label]),
            f"{each['prediction']} of {shares}",
        )
        expect(
            math.isclose(each["confidence_score"], max(shares.values())),
            f"confidence {each['confidence_score']}",
        )
    without = expect_status(scene.maker.predict(scene.model["endpoint"], rows[0]), 200)
    expect(without["probabilities"] is None, "probabilities that nobody asked for")
    spread = {round(each["probabilities"]["late"], 6) for each in answers["predictions"]}
    expect(len(spread) > 10, f"only {len(spread)} different answers to 50 rows")
    return f"50 rows, {len(spread)} different probabilities"


@promise("S54", "a batch answers each row as a single request does; one bad row refuses all and is named")
def batch(scene: Scene) -> str:
    rows = [row.features for row in scene.rows[100:120]]
    model = scene.model["endpoint"]
    together = expect_status(scene.maker.predict_batch(model, rows), 200)["predictions"]
    for row, one in zip(rows, together, strict=True):
        alone = expect_status(scene.maker.predict(model, row), 200)
        expect(
            math.isclose(alone["confidence_score"], one["confidence_score"]),
            "the batch answers a row differently",
        )
        expect(alone["prediction"] == one["prediction"], "the batch answers a row differently")
    ids = {each["prediction_id"] for each in together}
    expect(len(ids) == len(rows), f"{len(ids)} prediction ids for {len(rows)} rows")
    bad = [*rows[:3], {**rows[3], "month": "May"}, rows[4], {**rows[5], "airline": None}]
    problem = expect_problem(scene.maker.predict_batch(model, bad), 422)
    found = sorted((each["row"], each["field"], each["code"]) for each in problem["errors"])
    expect(found == [(3, "month", "wrong_type"), (5, "airline", "null_not_allowed")], f"named are {found}")
    expect_problem(scene.maker.predict_batch(model, []), 422)
    return f"{len(rows)} rows as {len(rows)} single requests; two bad rows of six named"


@promise("S67", "a wrong request gets the right error, naming every field that is wrong")
def wrong_rows(scene: Scene) -> str:
    row, model = scene.rows[0].features, scene.model["endpoint"]
    wrong = {**row, "month": "7", "departure_hour": 7.5, "weekday": 3, "distance": 1}
    del wrong["distance_miles"]
    found = issues_of(expect_problem(scene.maker.predict(model, wrong), 422))
    wanted = {
        ("month", "wrong_type"),
        ("departure_hour", "wrong_type"),
        ("weekday", "wrong_type"),
        ("distance", "unknown_field"),
        ("distance_miles", "missing_field"),
    }
    expect(found == wanted, f"named are {sorted(found, key=str)}")
    url, headers = f"/predict/{model}", {"Content-Type": "application/json"}
    twice = b'{"input_data": {"month": 1, "month": 2}}'
    duplicate = expect_problem(scene.maker.ml("POST", url, content=twice, headers=headers), 422)
    expect(("month", "duplicate_key") in issues_of(duplicate), f"a repeated key: {issues_of(duplicate)}")
    expect_problem(scene.maker.ml("POST", url, content=b'{"input_data": {', headers=headers), 400)
    expect_status(scene.maker.predict(model, {**row, "month": 7.0}), 200)
    return f"{len(wanted)} errors in one answer; a repeated key 422, broken JSON 400; 7.0 is an integer"


@promise("S67", "an unusual value is answered with a warning that names it")
def warnings(scene: Scene) -> str:
    row = {**scene.rows[0].features, "airline": "Zeppelin", "distance_miles": 99_999}
    answer = expect_status(scene.maker.predict(scene.model["endpoint"], row), 200)
    found = {(each["field"], each["code"]) for each in answer["metadata"]["warnings"]}
    expect(
        found == {("airline", "unknown_category"), ("distance_miles", "out_of_range")}, f"warned of {found}"
    )
    usual = expect_status(scene.maker.predict(scene.model["endpoint"], scene.rows[0].features), 200)
    expect(
        usual["metadata"]["warnings"] == [],
        f"a row of the file is warned of: {usual['metadata']['warnings']}",
    )
    return "an unknown airline and 99 999 miles: 200 with two warnings; a row of the file has none"


@promise("S53 P8", "a repeated request is answered from the cache, and with what the model says")
def cached(scene: Scene) -> str:
    row, model = scene.rows[7].features, scene.model["endpoint"]
    fresh = expect_status(scene.maker.predict(model, row, use_cache=False, return_probabilities=True), 200)
    expect(not fresh["metadata"]["cache_used"], "the cache answers a request that does not want it")
    expect_status(scene.maker.predict(model, row), 200)
    names = list(reversed(row))
    turned = {name: row[name] for name in names}
    again = expect_status(scene.maker.predict(model, turned, return_probabilities=True), 200)
    expect(again["metadata"]["cache_used"], "a repeated row, in another order, is not found in the cache")
    expect(again["probabilities"] == fresh["probabilities"], f"{again} is not {fresh}")
    expect(again["prediction_id"] != fresh["prediction_id"], "two predictions have one id")
    expect_problem(scene.newcomer().predict(model, row), 404)
    return "the same numbers, in another order of fields too, under a new id; 404 for a stranger"


@promise("P7", "an explanation names the columns, and its parts add up to the model's own score")
def explained(scene: Scene) -> str:
    row, model = scene.rows[0].features, scene.model["endpoint"]
    answer = expect_status(scene.maker.predict(model, row, explain=True), 200)
    found = answer["explanation"]
    expect(found["is_exact"], f"it is explained by {found['method']}")
    expect(set(found["contributions"]) == set(row), f"explained are {sorted(found['contributions'])}")
    total = found["base_value"] + sum(found["contributions"].values())
    expect(
        math.isclose(total, found["raw_score"], rel_tol=1e-9, abs_tol=1e-9),
        f"base and contributions add up to {total}, not {found['raw_score']}",
    )
    share = 1 / (1 + math.exp(-found["raw_score"]))
    expect(
        math.isclose(share, answer["confidence_score"], abs_tol=1e-9),
        f"a score of {found['raw_score']} is not a probability of {answer['confidence_score']}",
    )
    return f"{found['method']}: {found['reasons'][0]}"


@promise("S59 S61 S62", "a deployment's options are applied, and taken back with it")
def options(scene: Scene) -> str:
    caller, row = scene.maker, scene.rows[0].features
    model = trained(caller, new_model(caller, scene.flights["id"], name="with options"))
    deploy(caller, model)
    plain = expect_status(caller.predict(model["id"], row, return_probabilities=True), 200)
    gap = {name: value for name, value in row.items() if name != "distance_miles"}
    expect_problem(caller.predict(model["id"], gap), 422)
    wished = {
        "labels": {"late": "delayed"},
        "output_name": "arrives",
        "fields": {"distance_miles": {"on_missing": "impute"}},
    }
    body = {"config": {**wished, "threshold": 0.999999, "positive_class": "on_time"}}
    expect_status(caller.api("POST", f"/models/{model['id']}/deploy", json=body), 200)
    changed = expect_status(caller.predict(model["id"], gap), 200)
    expect(changed["prediction"] == "delayed", f"the answer is {changed['prediction']!r}")
    expect(changed["outputs"] == {"arrives": "delayed"}, f"outputs are {changed['outputs']}")
    warned = {(each["field"], each["code"]) for each in changed["metadata"]["warnings"]}
    expect(warned == {("distance_miles", "missing_field")}, f"warned of {warned}")
    wrong = {"config": {"fields": {"distanse": {"on_missing": "impute"}}}}
    expect_problem(caller.api("POST", f"/models/{model['id']}/deploy", json=wrong), 422)
    expect_status(caller.api("POST", f"/endpoints/{model['endpoint']}/rollback"), 200)
    back = expect_status(caller.predict(model["id"], row, return_probabilities=True), 200)
    expect(back["probabilities"] == plain["probabilities"], "after the rollback it answers otherwise")
    expect_problem(caller.predict(model["id"], gap), 422)
    return (
        "threshold, names, an output and a policy; 422 for a field that is not there; gone after a rollback"
    )


@promise("S55", "a model that does not exist is not made up")
def unknown_models(scene: Scene) -> str:
    for model in ("no-such-model", "00000000-0000-4000-8000-000000000000", "demo_model_3"):
        expect_problem(scene.maker.predict(model, DEMO_ROW), 404)
        expect_problem(scene.nobody.predict(model, DEMO_ROW), 401)
    expect_problem(scene.maker.predict("..%2F..%2Fetc%2Fpasswd", DEMO_ROW), 404)
    expect_problem(scene.maker.predict(f"{scene.model['endpoint']}/versions/99", scene.rows[0].features), 404)
    return "404 for four names and a version, 401 without a credential"


@promise("S58", "two demo models answer anybody from the start")
def demo_models(scene: Scene) -> str:
    listed = expect_status(scene.nobody.ml("GET", "/models"), 200)["models"]
    kinds = {each["name"]: each["model_type"] for each in listed}
    wanted = {"demo_model_1": "classification", "demo_model_2": "regression"}
    expect(kinds == wanted, f"an anonymous caller sees {kinds}")
    labels = set()
    for seed in range(30):
        generator = random.Random(seed)
        row = {name: generator.uniform(-3, 3) for name in DEMO_ROW}
        labels.add(expect_status(scene.nobody.predict("demo_model_1", row), 200)["prediction"])
    expect(len(labels) == 2, f"demo_model_1 only ever says {labels}")
    scores = [expect_status(scene.nobody.ml("GET", f"/models/{name}"), 200)["metrics"] for name in wanted]
    expect(scores[0]["roc_auc"] > 0.8 and scores[1]["r2"] > 0.8, f"the published scores are {scores}")
    number = expect_status(scene.nobody.predict("demo_model_2", DEMO_ROW), 200)
    expect(isinstance(number["prediction"], float), f"demo_model_2 says {number['prediction']!r}")
    expect(number["confidence_score"] is None, "a regression has a confidence")
    published = f"ROC AUC {scores[0]['roc_auc']:.3f}, R² {scores[1]['r2']:.3f}"
    return f"demo_model_1 says {sorted(labels)}, demo_model_2 a number; published scores: {published}"


@promise("S56", "models are loaded when they are asked for, and no more than fit are kept in memory")
def memory(scene: Scene) -> str:
    most = int(os.environ.get("MODEL_CACHE_ENTRIES", "16"))
    models = expect_status(scene.maker.ml("GET", "/models"), 200)["models"]
    for each in [*models, *models[:2]]:
        described = expect_status(scene.maker.ml("GET", f"/models/{each['model_id']}"), 200)
        row = {field["name"]: field["example"] for field in described["contract"]["fields"]}
        answer = expect_status(scene.maker.predict(each["model_id"], row), 200)
        expect(
            answer["metadata"]["digest"] == described["digest"],
            f"{each['name']} answers with another version",
        )
    loaded = _gauge(scene, "mlp_model_cache_entries")
    expect(0 < loaded <= most, f"{loaded:g} versions are in memory, {most} may be")
    return f"{len(models)} models answered in turn, each with its own version; {loaded:g} of at most {most} in memory"


def _gauge(scene: Scene, name: str) -> float:
    for family in text_string_to_metric_families(scene.nobody.ml("GET", "/metrics").text):
        if family.name == name:
            return float(family.samples[0].value)
    raise Broken(f"/metrics has no {name}")


@promise("S46", "a prediction through the API is ml-service's own, and stays in its caller's history")
def history(scene: Scene) -> str:
    row, model = scene.rows[7].features, scene.model["endpoint"]
    kept = expect_status(
        scene.maker.api("POST", "/predictions", json={"model_id": model, "input_data": row}), 200
    )
    direct = expect_status(scene.maker.predict(model, row), 200)
    expect(kept["confidence_score"] == direct["confidence_score"], "the two services answer differently")
    expect(kept["model_id"] == scene.model["id"], f"it names model {kept['model_id']}")
    listed = expect_status(scene.maker.api("GET", "/predictions"), 200)["items"]
    found = next((each for each in listed if each["prediction_id"] == kept["prediction_id"]), None)
    expect(
        found is not None and found["input_data"] == row,
        "the prediction is not in the history as it was asked",
    )
    theirs = expect_status(scene.stranger.api("GET", "/predictions"), 200)["items"]
    expect(kept["prediction_id"] not in [each["prediction_id"] for each in theirs], "a stranger sees it")
    wrong = scene.maker.api(
        "POST", "/predictions", json={"model_id": model, "input_data": {**row, "month": "May"}}
    )
    expect(
        ("month", "wrong_type") in issues_of(expect_problem(wrong, 422)),
        "a bad row is not refused as ml-service does",
    )
    return f"id {kept['prediction_id'][:8]}… in the history with its row, and in no one else's"


@promise("S50", "a prediction is quick")
def latency(scene: Scene) -> str:
    row, seconds = scene.rows[0].features, []
    for _ in range(100):
        started = time.perf_counter()
        expect_status(scene.maker.predict(scene.model["endpoint"], row, use_cache=False), 200)
        seconds.append((time.perf_counter() - started) * 1000)
    typical, slow = statistics.median(seconds), sorted(seconds)[94]
    expect(typical < TYPICAL_MILLISECONDS, f"half of the requests take more than {typical:.1f} ms")
    return f"median {typical:.1f} ms, 95 % within {slow:.1f} ms, over HTTP one after the other"
