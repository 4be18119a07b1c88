"""Work that takes longer than a request: what its owner sees of it, and how it is stopped and repeated."""

import time

from tests.verify.loop import Json, body_of, finished_job, new_model
from tests.verify.registry import expect, expect_problem, expect_status, promise
from tests.verify.scene import Scene

LONG = {"n_estimators": 10000, "learning_rate": 0.001, "num_leaves": 255, "seed": 1}
CANCELLED_WITHIN_SECONDS = 2.0


@promise("P10 S41", "a training tells its percent, stage, time left and log while it runs, and who ran it")
def live(scene: Scene) -> str:
    parameters = {"n_estimators": 800, "learning_rate": 0.02, "seed": 1}
    model = new_model(scene.maker, scene.flights["id"], name="watched", parameters=parameters)
    job_id = model["job_id"]
    seen: list[Json] = []
    while (job := body_of(scene.maker.api("GET", f"/jobs/{job_id}")))["status"] in ("queued", "running"):
        seen.append(job["progress"])
        time.sleep(0.05)
    expect(job["status"] == "succeeded", f"the training is {job['status']}: {job['error']}")
    percents = [each["percent"] for each in seen]
    expect(percents == sorted(percents), f"the percents went back: {percents}")
    rounds = [each for each in seen if each["eta_seconds"] is not None]
    expect(rounds, "no time left was ever told")
    (attempt,) = expect_status(scene.maker.api("GET", f"/jobs/{job_id}/attempts"), 200)["items"]
    expect(attempt["outcome"] == "succeeded", f"the attempt ended {attempt['outcome']}")
    log = expect_status(scene.maker.api("GET", f"/jobs/{job_id}/logs"), 200)
    expect(
        log["items"] and log["next_cursor"] is None, "the log of a job that is over has no end, or no line"
    )
    events = scene.maker.api("GET", f"/jobs/{job_id}/events").text
    told = {name: events.count(f"event: {name}") for name in ("state", "progress", "log")}
    expect(all(told.values()), f"the stream told {told}")
    lines = len(log["items"])
    return (
        f"{len(set(percents))} steps seen, {told['progress']} told; {lines} log lines; by {attempt['worker']}"
    )


@promise("P10 S44", "a cancelled training is over within 2 s, leaves no version, and can be done again")
def cancelled(scene: Scene) -> str:
    limits = {"time_limit_seconds": 300, "priority": 7}
    model = new_model(scene.maker, scene.flights["id"], name="again", parameters=LONG, job=limits)
    job_id = model["job_id"]
    while not (job := body_of(scene.maker.api("GET", f"/jobs/{job_id}")))["progress"]["eta_seconds"]:
        expect(job["status"] in ("queued", "running"), f"the long training is {job['status']} already")
        time.sleep(0.1)
    sent = time.monotonic()
    expect_status(scene.maker.api("POST", f"/jobs/{job_id}/cancel"), 202)
    ended = finished_job(scene.maker, job_id, patience_seconds=30)
    seconds = time.monotonic() - sent
    expect(ended["status"] == "cancelled", f"the cancelled job is {ended['status']}")
    expect(seconds < CANCELLED_WITHIN_SECONDS, f"it took {seconds:.1f} s")
    expect_problem(scene.maker.api("POST", f"/jobs/{job_id}/cancel"), 409)
    again = expect_status(scene.maker.api("POST", f"/jobs/{job_id}/retry"), 202)
    expect(
        (again["retry_of"], again["priority"], again["time_limit_seconds"]) == (job_id, 7, 300),
        f"the repeated job is another one: {again}",
    )
    expect_status(scene.maker.api("POST", f"/jobs/{again['id']}/cancel"), 202)
    finished_job(scene.maker, again["id"], patience_seconds=30)
    versions = body_of(scene.maker.api("GET", f"/models/{model['id']}/versions"))["total"]
    expect(versions == 0, f"two cancelled trainings left {versions} versions")
    return f"over after {seconds:.2f} s; repeated with its priority and limits"


@promise("P10 S44", "a training that takes too long, or too much memory, fails with that cause, once")
def limited(scene: Scene) -> str:
    wishes = {"parameters": LONG, "job": {"time_limit_seconds": 3}}
    slow = new_model(scene.maker, scene.flights["id"], name="too slow", **wishes)
    wishes["job"] = {"memory_limit_bytes": 64 * 1024 * 1024}
    large = new_model(scene.maker, scene.flights["id"], name="too large", **wishes)
    codes = []
    for model, code in ((slow, "timeout"), (large, "out_of_memory")):
        job = finished_job(scene.maker, model["job_id"])
        expect(job["status"] == "failed", f"{model['name']!r} is {job['status']}")
        expect(
            (job["error"]["code"], job["attempt"]) == (code, 1), f"{job['error']}, attempt {job['attempt']}"
        )
        codes.append(code)
    beyond = {"name": "more", "job": {"time_limit_seconds": 10**7}}
    wanted = {
        **beyond,
        "model_type": "regression",
        "framework": "lightgbm",
        "dataset_id": scene.flights["id"],
    }
    problem = expect_problem(scene.maker.api("POST", "/models", json=wanted), 422)
    expect(problem["errors"][0]["pointer"] == "/job/time_limit_seconds", f"it says {problem['errors']}")
    return f"{' and '.join(codes)}, without another attempt; more than the platform's limit is a 422"
