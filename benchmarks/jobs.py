"""How soon a job begins, and what two workers get done: `make bench WHAT=jobs`.

It starts a platform of its own, with production's settings and two places for trainings, and prints

    begin   POST of a training until a worker has claimed it, on an idle platform; the goal is a p95 of 500 ms
    drain   so many small trainings submitted at once, against the same number done one after the other by two
            perfect workers: JOBS * (median of one alone) / 2; the goal is at most 1.25 times that
"""

import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from tests.end_to_end.stack import Stack
from tests.verify.calling import Caller
from tests.verify.loop import FLIGHTS, Json, body_of, new_model, settled_dataset, upload
from tests.verify.scene import Scene

ALONE, JOBS, PATIENCE_SECONDS = 30, 200, 900.0
SETTINGS = {"WORKER_CONCURRENCY_ML": "2", "TRAINING_THREADS": "1"}
PARAMETERS = {"n_estimators": 20, "num_leaves": 15, "seed": 1}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "data", settings=SETTINGS)
        stack.start()
        try:
            with Scene(stack.api_url, stack.ml_url, stack.data_dir) as scene:
                measure(scene.maker, upload(scene.maker, FLIGHTS.read_bytes(), name="flights"))
        finally:
            stack.stop()


def measure(caller: Caller, dataset: Json) -> None:
    dataset = settled_dataset(caller, dataset["id"])
    alone = [one(caller, dataset) for _ in range(ALONE)]
    begins = sorted(1000 * begin for begin, _ in alone)
    print(
        f"begin   p50 {statistics.median(begins):.0f} ms, p95 {begins[int(0.95 * ALONE)]:.0f} ms (goal 500 ms)"
    )
    usual = statistics.median(whole for _, whole in alone)
    took = many(caller, dataset)
    perfect = JOBS * usual / 2
    print(
        f"drain   {JOBS} jobs in {took:.1f} s; one alone {usual:.2f} s, two perfect workers {perfect:.1f} s"
    )
    print(f"        ratio {took / perfect:.2f} (goal 1.25)")


def one(caller: Caller, dataset: Json) -> tuple[float, float]:
    """Seconds from the POST until it was claimed, and until it was over."""
    sent = time.time()
    model = new_model(caller, dataset["id"], name=f"alone {sent}", parameters=PARAMETERS)
    (job,) = finished(caller, [model["job_id"]])
    return at(job["started_at"]) - sent, at(job["finished_at"]) - sent


def many(caller: Caller, dataset: Json) -> float:
    sent = time.time()
    models = [
        new_model(caller, dataset["id"], name=f"many {number}", parameters=PARAMETERS)
        for number in range(JOBS)
    ]
    jobs = finished(caller, [model["job_id"] for model in models])
    return max(at(job["finished_at"]) for job in jobs) - sent


def finished(caller: Caller, job_ids: list[str]) -> list[Json]:
    deadline, found = time.monotonic() + PATIENCE_SECONDS, []
    for job_id in job_ids:
        while (job := body_of(caller.api("GET", f"/jobs/{job_id}")))["status"] in ("queued", "running"):
            assert time.monotonic() < deadline, f"not over in time: {job}"
            time.sleep(0.05 if len(job_ids) == 1 else 0.5)
        assert job["status"] == "succeeded", job
        found.append(job)
    return found


def at(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


if __name__ == "__main__":
    main()
