"""What a prediction costs more through the API, where it is kept in a history: `make bench WHAT=prediction_overhead`.

It starts a platform of its own and asks its demo model, one request after the other and each way in turns:

    straight   POST /predict/{model} at ml-service
    api        POST /api/v1/predictions, which asks ml-service and writes the history; the goal is a p50 of 15 ms more
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx2

from tests.end_to_end.stack import Stack
from tests.verify.scene import Scene

WARM_UP, REQUESTS, GOAL_MILLISECONDS = 30, 300, 15.0
MODEL = "demo_model_1"
ROW = {"feature1": 0.5, "feature2": 1.2, "feature3": -0.3, "feature4": 2.0}

Ask = Callable[[], httpx2.Response]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "data", settings={})
        stack.start()
        try:
            with Scene(stack.api_url, stack.ml_url, stack.data_dir) as scene:
                measure(stack, scene.maker.authorization())
        finally:
            stack.stop()


def measure(stack: Stack, headers: dict[str, str]) -> None:
    with httpx2.Client(headers=headers, timeout=30) as http:
        body = {"input_data": ROW, "use_cache": False}
        ways: dict[str, Ask] = {
            "straight": lambda: http.post(f"{stack.ml_url}/predict/{MODEL}", json=body),
            "api": lambda: http.post(f"{stack.api_url}/api/v1/predictions", json={"model_id": MODEL, **body}),
        }
        took = interleaved(ways)
    for way, milliseconds in took.items():
        p95 = milliseconds[int(0.95 * REQUESTS)]
        print(f"{way:<10} p50 {statistics.median(milliseconds):.1f} ms, p95 {p95:.1f} ms")
    more = statistics.median(took["api"]) - statistics.median(took["straight"])
    print(f"           {more:.1f} ms more at the p50 (goal {GOAL_MILLISECONDS:.0f} ms)")


def interleaved(ways: dict[str, Ask]) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(WARM_UP + REQUESTS):
        for way, ask in ways.items():
            began = time.perf_counter()
            answer = ask()
            elapsed = 1000 * (time.perf_counter() - began)
            assert answer.status_code == 200, answer.text
            if number >= WARM_UP:
                took[way].append(elapsed)
    return {way: sorted(milliseconds) for way, milliseconds in took.items()}


if __name__ == "__main__":
    main()
