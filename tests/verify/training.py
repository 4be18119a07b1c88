"""From data to model versions."""

import random
import time

from tests.verify.loop import (
    FLIGHTS,
    Json,
    as_csv,
    body_of,
    deploy,
    finished_job,
    new_model,
    rows_of,
    trained,
    upload,
)
from tests.verify.registry import expect, expect_problem, expect_status, promise
from tests.verify.scene import Scene

SHUFFLED_SEED = 20131231
FRAMEWORKS = ("scikit-learn", "xgboost", "lightgbm")


@promise("S36", "a model goes through created, training, trained, deployed and back")
def life_cycle(scene: Scene) -> str:
    caller = scene.maker
    body = {"name": "life cycle", "model_type": "classification", "framework": "xgboost"}
    model = expect_status(caller.api("POST", "/models", json=body), 201)
    seen = [model["status"]]
    expect(model["version"] is None, f"a model without a training has version {model['version']}")
    expect_problem(caller.api("POST", f"/models/{model['id']}/deploy", json={}), 409)
    wish = {"dataset_id": scene.flights["id"], "target": "arrival", "parameters": {"n_estimators": 20}}
    answer = caller.api("POST", f"/models/{model['id']}/train", json=wish)
    job = expect_status(answer, 202)
    expect(
        answer.headers.get("location", "").endswith(job["id"]),
        f"Location is {answer.headers.get('location')}",
    )
    seen.append(_status(scene, model))
    finished_job(caller, job["id"])
    seen.append(_status(scene, model))
    endpoint = deploy(caller, model)["endpoint"]
    seen.append(_status(scene, model))
    expect_status(caller.api("DELETE", f"/endpoints/{endpoint}"), 204)
    seen.append(_status(scene, model))
    wanted = ["created", "training", "trained", "deployed", "trained"]
    expect(seen == wanted, f"it was {seen}, not {wanted}")
    return " > ".join(seen)


def _status(scene: Scene, model: Json) -> str:
    return str(body_of(scene.maker.api("GET", f"/models/{model['id']}"))["status"])


@promise("S41", "training learns from the data: scores fall to chance when the target is shuffled")
def learns(scene: Scene) -> str:
    rows = scene.rows
    targets = [row.target for row in rows]
    random.Random(SHUFFLED_SEED).shuffle(targets)
    head = [*rows[0].features, "arrival"]
    table = as_csv(
        head, ([*row.features.values(), target] for row, target in zip(rows, targets, strict=True))
    )
    shuffled = upload(scene.maker, table, name="flights, shuffled target")
    model = trained(scene.maker, new_model(scene.maker, shuffled["id"], name="learns nothing"))
    real, chance = scene.model["metrics"]["roc_auc"], model["metrics"]["roc_auc"]
    expect(real > 0.8, f"ROC AUC on the real target is {real:.3f}")
    expect(0.4 < chance < 0.6, f"ROC AUC on a shuffled target is {chance:.3f}")
    return f"hold-out ROC AUC {real:.3f} on the real target, {chance:.3f} on a shuffled one"


@promise("S41", "a training reports live progress of the library's own rounds")
def progress(scene: Scene) -> str:
    parameters = {"n_estimators": 1000, "learning_rate": 0.01, "seed": 1}
    model = new_model(scene.maker, scene.flights["id"], name="progress", parameters=parameters)
    seen: list[float] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job = body_of(scene.maker.api("GET", f"/jobs/{model['job_id']}"))
        if not seen or job["progress"]["percent"] != seen[-1]:
            seen.append(job["progress"]["percent"])
        if job["status"] in ("succeeded", "failed"):
            break
        time.sleep(0.1)
    expect(job["status"] == "succeeded", f"the training is {job['status']}: {job['error']}")
    between = [each for each in seen if 0 < each < 100]
    expect(seen == sorted(seen), f"progress went back: {seen}")
    expect(len(between) >= 5, f"only {len(between)} values between 0 and 100 %: {seen}")
    return f"{len(between)} values between 0 and 100 %, never falling"


@promise("S40", "versions are numbered and immutable; each stays there and answers")
def model_versions(scene: Scene) -> str:
    caller = scene.maker
    small = {"n_estimators": 10, "seed": 1}
    model = trained(caller, new_model(caller, scene.flights["id"], name="two versions", parameters=small))
    path = f"/models/{model['id']}"
    first = expect_status(caller.api("GET", f"{path}/versions/1"), 200)
    job = expect_status(
        caller.api("POST", f"{path}/train", json={"parameters": {"n_estimators": 40, "seed": 1}}), 202
    )
    result = finished_job(caller, job["id"])["result"]
    expect(result.get("version") == 2, f"the second training made version {result.get('version')}")
    unchanged = expect_status(caller.api("GET", f"{path}/versions/1"), 200)
    for member in ("digest", "metrics", "manifest"):
        expect(unchanged[member] == first[member], f"version 1 changed its {member}")
    second = expect_status(caller.api("GET", f"{path}/versions/2"), 200)
    expect(second["digest"] != first["digest"], "other parameters, the same digest")
    endpoint = deploy(caller, model, version=1)["endpoint"]
    row = scene.rows[0].features
    answer = expect_status(caller.predict(endpoint, row), 200)["metadata"]
    pinned = expect_status(caller.predict(f"{endpoint}/versions/2", row), 200)["metadata"]
    expect(
        (answer["model_version"], answer["digest"]) == (1, first["digest"]),
        f"the endpoint answers with {answer}",
    )
    expect((pinned["model_version"], pinned["digest"]) == (2, second["digest"]), f"pinned to 2: {pinned}")
    return f"1 {first['digest'][:8]} serves, 2 {second['digest'][:8]} answers when asked for; 1 is as it was"


@promise("S57", "scikit-learn, XGBoost and LightGBM are trained and served, for classes and for numbers")
def frameworks(scene: Scene) -> str:
    generator = random.Random(5)
    points = [
        (generator.uniform(-2, 2), generator.uniform(-2, 2), generator.choice("uvw")) for _ in range(600)
    ]
    head = ["a", "b", "kind", "number", "side"]
    lines = [
        (f"{a:.4f}", f"{b:.4f}", kind, f"{_truth(a, b, kind):.4f}", _side(a, b)) for a, b, kind in points
    ]
    dataset = upload(scene.maker, as_csv(head, lines), name="a known rule")
    pairs = [
        (_new(scene, dataset, each, "number"), _new(scene, dataset, each, "side")) for each in FRAMEWORKS
    ]
    results = []
    for framework, (number, side) in zip(FRAMEWORKS, pairs, strict=True):
        seen = _expect_follows_rule(scene, trained(scene.maker, number), trained(scene.maker, side))
        results.append(f"{framework} {seen}")
    return "; ".join(results)


def _new(scene: Scene, dataset: Json, framework: str, target: str) -> Json:
    """A model of one of the two targets, which does not see the other."""
    other = {"number": "side", "side": "number"}[target]
    return new_model(
        scene.maker,
        dataset["id"],
        name=f"{framework} {target}",
        model_type="regression" if target == "number" else "classification",
        framework=framework,
        target=target,
        parameters={},
        preprocessing={"exclude": [other]},
    )


def _truth(a: float, b: float, kind: str) -> float:
    return 3 * a - 2 * b + {"u": 0.0, "v": 5.0, "w": -5.0}[kind]


def _side(a: float, b: float) -> str:
    return "above" if a > b else "below"


def _expect_follows_rule(scene: Scene, number: Json, side: Json) -> str:
    expect(number["metrics"]["r2"] > 0.9, f"{number['name']}: R² is {number['metrics']['r2']:.3f}")
    endpoint = deploy(scene.maker, number)["endpoint"]
    row = {"a": 1.0, "b": -1.0, "kind": "v"}
    answer = expect_status(scene.maker.predict(endpoint, row), 200)["prediction"]
    expect(abs(answer - _truth(1, -1, "v")) < 2.5, f"{number['name']} answers {answer}, the rule says 10")
    endpoint = deploy(scene.maker, side)["endpoint"]
    for a, b in ((1.0, -1.0), (-1.0, 1.0)):
        label = expect_status(scene.maker.predict(endpoint, {"a": a, "b": b, "kind": "u"}), 200)["prediction"]
        expect(label == _side(a, b), f"{side['name']} says {label!r} for a={a}, b={b}")
    return f"R² {number['metrics']['r2']:.3f}, accuracy {side['metrics']['accuracy']:.3f}"


@promise(
    "S12 S43", "queues are separate: a long training does not hold up a data set; a job can be cancelled"
)
def queues(scene: Scene) -> str:
    parameters = {"n_estimators": 10000, "learning_rate": 0.001, "num_leaves": 255, "seed": 1}
    model = new_model(scene.maker, scene.flights["id"], name="long", parameters=parameters)
    dataset = upload(scene.maker, b"a,target\n1,0\n2,1\n", name="meanwhile")
    expect(dataset["status"] == "ready", f"the data set is {dataset['status']}")
    job = body_of(scene.maker.api("GET", f"/jobs/{model['job_id']}"))
    expect(job["status"] in ("queued", "running"), f"the long training is {job['status']} already")
    expect_status(scene.maker.api("POST", f"/jobs/{job['id']}/cancel"), 202)
    ended = finished_job(scene.maker, job["id"], patience_seconds=30)
    expect(ended["status"] == "cancelled", f"the cancelled job is {ended['status']}")
    expect_problem(scene.maker.api("POST", f"/jobs/{job['id']}/cancel"), 409)
    count = body_of(scene.maker.api("GET", f"/models/{model['id']}/versions"))["total"]
    expect(count == 0, f"a cancelled training left {count} versions")
    return f"profiled while the training was {job['status']}; then cancelled, leaving no version"


@promise("S41", "the hold-out is honest: rows counted, and the same seed gives the same version")
def reproducible(scene: Scene) -> str:
    digests = [body_of(scene.maker.api("GET", f"/models/{scene.model['id']}/versions/1"))["digest"]]
    again = trained(scene.maker, new_model(scene.maker, scene.flights["id"], name="the same again"))
    version = body_of(scene.maker.api("GET", f"/models/{again['id']}/versions/1"))
    digests.append(version["digest"])
    split = version["manifest"]["split"]
    total = len(rows_of(FLIGHTS, scene.flights, target="arrival"))
    expect(split["train_rows"] + split["test_rows"] + split["dropped_rows"] == total, f"the split is {split}")
    expect(digests[0] == digests[1], f"the same training twice gave {digests}")
    return f"{split['train_rows']} rows to learn from, {split['test_rows']} held out; digest {digests[0][:12]}… twice"
