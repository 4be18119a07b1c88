import argparse
import importlib
import os
import sys
import time
from pathlib import Path

from tests.verify.registry import PROMISES, Promise
from tests.verify.scene import Scene

AREAS = ["access", "identity", "datasets", "training", "jobs", "serving", "manners"]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.verify", description="Check each promise of a running platform."
    )
    parser.add_argument("words", nargs="*", help="only promises with one of these ids, or with this text")
    parser.add_argument("--list", action="store_true", help="name the promises and check none")
    options = parser.parse_args()
    for area in AREAS:
        importlib.import_module(f"tests.verify.{area}")
    chosen = [each for each in PROMISES if each.matches(options.words)]
    if options.list:
        return listed(chosen)
    return verified(chosen)


def listed(chosen: list[Promise]) -> int:
    for each in chosen:
        print(f"{' '.join(each.ids):<12}{each.sentence}")
    return 0


def verified(chosen: list[Promise]) -> int:
    scene = Scene(
        api_url=os.environ.get("API_URL", "http://127.0.0.1:8000").rstrip("/"),
        ml_url=os.environ.get("ML_URL", "http://127.0.0.1:8001").rstrip("/"),
        data_dir=Path(os.environ.get("PLATFORM_DATA_DIR", ".data")),
    )
    with scene:
        outcomes = [holds(each, scene) for each in chosen]
    print(f"\n{sum(outcomes)} passed, {len(outcomes) - sum(outcomes)} failed")
    return 0 if outcomes and all(outcomes) else 1


def holds(promise: Promise, scene: Scene) -> bool:
    """Check one promise and print its line; a check that itself breaks down is a broken promise too."""
    started = time.monotonic()
    try:
        verdict, seen = "PASS", promise.check(scene)
    except Exception as error:
        verdict, seen = "FAIL", f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - started
    print(f"{verdict}  {' '.join(promise.ids):<12} {promise.sentence} | {seen} ({seconds:.1f} s)", flush=True)
    return verdict == "PASS"


if __name__ == "__main__":
    sys.exit(main())
