"""How many predictions one process of ml-service answers: `make bench WHAT=predict`. Needs wrk.

XGBoost with 200 trees of depth 6 on 30 columns, one row in a request, 16 connections; authentication by API key,
validation, rate limits and metrics are on. In turns, so that all see the same machine:

    raw       an ASGI application that answers a constant: what the server alone can do, and the baseline
    naive     FastAPI, Pydantic, pandas and predict_proba, as most people begin
    model     ml-service with `use_cache: false`: the model answers every request
    cached    ml-service, when the rows were asked before

On a busy machine requests per second say little; the microseconds of the processor that the server spends on one
request hold there too.
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xgboost
from sklearn.datasets import make_classification

from tests.end_to_end.stack import Stack, free_port
from tests.verify.loop import as_csv, body_of, deploy, new_model, trained, upload
from tests.verify.scene import Scene

ROWS, COLUMNS, BODIES = 20_000, 30, 1000
NAMES = [f"f{number}" for number in range(COLUMNS)]
PARAMETERS = {"n_estimators": 200, "max_depth": 6, "learning_rate": 0.1, "seed": 7}
CONNECTIONS, SECONDS, ROUNDS = 16, 4, 5
GOAL = 0.15
SETTINGS = {
    "PREDICT_RATE_LIMIT_ADDRESS": "100000000/minute",
    "PREDICT_RATE_LIMIT_PRINCIPAL": "100000000/minute",
}
"""Counted as ever, and never reached."""
SERVICES = Path(__file__).parent / "services"


@dataclass(frozen=True)
class Target:
    name: str
    url: str
    pid: int
    bodies: Path
    key: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def main() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("Install wrk first (a load generator; Debian has it): apt-get install wrk")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as running:
        folder = Path(name)
        table, model = _data(folder)
        raw, raw_pid = running.enter_context(_service("raw", {}))
        settings = {"BENCH_MODEL": str(model), "BENCH_COLUMNS": ",".join(NAMES)}
        naive, naive_pid = running.enter_context(_service("naive", settings))
        fresh, usual = folder / "fresh.jsonl", folder / "usual.jsonl"
        stack = Stack(folder / "data", settings=SETTINGS)
        stack.start()
        running.callback(stack.stop)
        endpoint, key = _deployed(stack, table)
        url = f"{stack.ml_url}/predict/{endpoint}"
        pid = _listens(int(stack.ml_url.rpartition(":")[2]))
        targets = [
            Target("raw", f"{raw}/", raw_pid, usual),
            Target("naive", f"{naive}/predict", naive_pid, usual),
            Target("model", url, pid, fresh, key),
            Target("cached", url, pid, usual, key),
        ]
        _print(_measured(targets))


def _data(folder: Path) -> tuple[bytes, Path]:
    """The training table, and the same model for the naive service; writes the bodies."""
    features, target = make_classification(
        ROWS, COLUMNS, n_informative=12, n_redundant=6, flip_y=0.05, random_state=7
    )
    model = xgboost.XGBClassifier(n_estimators=200, max_depth=6, learning_rate=0.1, random_state=7)
    model.fit(features, target)
    model.save_model(folder / "model.ubj")
    inside = np.clip(features[:BODIES], *np.percentile(features, (5, 95), axis=0))
    rows = [dict(zip(NAMES, map(float, row), strict=True)) for row in inside]
    for file, options in (("fresh.jsonl", {"use_cache": False}), ("usual.jsonl", {})):
        lines = (json.dumps({"input_data": row, **options}) for row in rows)
        (folder / file).write_text("\n".join(lines) + "\n")
    cells = [[*map(float, row), int(label)] for row, label in zip(features, target, strict=True)]
    return as_csv([*NAMES, "target"], cells), folder / "model.ubj"


def _deployed(stack: Stack, table: bytes) -> tuple[str, str]:
    """The endpoint's name, and an API key for it."""
    with Scene(stack.api_url, stack.ml_url, stack.data_dir) as scene:
        caller = scene.maker
        dataset = upload(caller, table, name="numbers")
        wishes = {"framework": "xgboost", "target": "target", "parameters": PARAMETERS}
        model = trained(caller, new_model(caller, dataset["id"], name="bench", **wishes))
        deploy(caller, model)
        key = body_of(caller.api("POST", "/api-keys", json={"name": "bench", "scopes": ["predict"]}))
        endpoint: str = model["endpoint"]
        secret: str = key["secret"]
        return endpoint, secret


@contextlib.contextmanager
def _service(name: str, environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", f"benchmarks.services.{name}:app", "--port", str(port)]
    process = subprocess.Popen(  # noqa: S603  # our own words
        [*command, "--no-access-log", "--log-level", "warning"],
        cwd=SERVICES.parents[1],
        env={**os.environ, **environment, "OMP_NUM_THREADS": "1"},
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/")
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> int:
    """The process of ml-service that listens there."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (
                b"ml_service.main" in (path / "cmdline").read_bytes()
                and f"ML_PORT={port}\0".encode() in (path / "environ").read_bytes()
            ):
                return int(path.name)
    raise SystemExit("ml-service was not found")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=1).close()  # noqa: S310  # our own address
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{url} did not answer")


def _measured(targets: list[Target]) -> dict[str, list[Result]]:
    for target in targets:
        _ask_once(target)
        _run(target, seconds=1)
    found: dict[str, list[Result]] = {each.name: [] for each in targets}
    for _ in range(ROUNDS):
        for target in targets:
            found[target.name].append(_run(target, seconds=SECONDS))
    return found


def _ask_once(target: Target) -> None:
    body = target.bodies.read_bytes().partition(b"\n")[0]
    headers = {"Content-Type": "application/json", **({"X-API-Key": target.key} if target.key else {})}
    try:
        urllib.request.urlopen(urllib.request.Request(target.url, body, headers)).close()  # noqa: S310  # our own
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{target.name}: {error.code} {error.read().decode()[:1000]}") from None


def _run(target: Target, *, seconds: int) -> Result:
    environment = {**os.environ, "BENCH_BODIES": str(target.bodies)}
    if target.key:
        environment["BENCH_KEY"] = target.key
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}s",
        "-s",
        str(SERVICES / "post.lua"),
        target.url,
    ]
    worked = _cpu_seconds(target.pid)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)  # noqa: S603  # our own
    output = done.stdout
    said = json.loads(output.rpartition("RESULT ")[2])
    if said["failed"]:
        raise SystemExit(f"{target.name}: {said['failed']} of {said['requests']} requests failed\n{output}")
    cpu_us = 1e6 * (_cpu_seconds(target.pid) - worked) / said["requests"]
    return Result(said["requests"] / said["seconds"], cpu_us, said["p50_ms"], said["p99_ms"])


def _print(found: dict[str, list[Result]]) -> None:
    print(
        f"{'target':8} {'requests/s':>10} {'of raw':>8} {'x naive':>8} {'CPU us':>8} {'p50 ms':>8} {'p99 ms':>8}"
    )
    middle = {name: _middle(runs) for name, runs in found.items()}
    for name, each in middle.items():
        share = each.per_second / middle["raw"].per_second
        times = each.per_second / middle["naive"].per_second
        print(
            f"{name:8} {each.per_second:10.0f} {share:8.1%} {times:8.1f} "
            f"{each.cpu_us:8.0f} {each.p50_ms:8.2f} {each.p99_ms:8.2f}"
        )
    ratio = middle["model"].per_second / middle["raw"].per_second
    print(f"ratio    {ratio:.1%} of raw (goal {GOAL:.0%})")


def _middle(runs: list[Result]) -> Result:
    return Result(*(statistics.median(getattr(each, name) for each in runs) for name in Result.__slots__))


if __name__ == "__main__":
    main()
