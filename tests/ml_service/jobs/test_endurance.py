"""A worker that lives for long: it does not grow, and its children never hang. `make soak` lets it live longer."""

import gc
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ml_service.jobs.attempt import Workshop
from ml_service.jobs.runner import JobRunner
from ml_service.settings import Settings
from platform_kit.contract.jobs import DatasetRef, ProfileSpec
from tests.ml_service.jobs.desk import MADE, QUEUE, Desk, children, stay, training

WARM_UP_RUNS = 50
RUNS = 1000 if os.environ.get("SOAK_MINUTES") else 300
MOST_GROWTH_BYTES = 5 * 2**20
FITS = 20
LONGEST_SECONDS = 120
FIT = {
    "lightgbm": ("lightgbm", {"n_estimators": 10}),
    "xgboost": ("xgboost", {"n_estimators": 10}),
    "hist_gradient_boosting": ("scikit-learn", {"max_iter": 10}),
}


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run_often(desk: Desk, runner: JobRunner, dataset: DatasetRef, times: int) -> None:
    for _ in range(times):
        desk.offer(ProfileSpec(dataset=dataset))
        runner.run(QUEUE)
        assert desk.end["outcome"] == "succeeded"
        desk.peer.asked.clear()
        desk.workers.clear()
        desk.beats.clear()


class TestManyRuns:
    @pytest.mark.timeout(300)
    def test_leave_no_memory_thread_descriptor_or_folder(
        self,
        desk: Desk,
        runner: JobRunner,
        program: Callable[[str], None],
        csv: bytes,
        quick: Settings,
    ) -> None:
        program(stay("made", MADE))
        dataset = desk.dataset(csv)
        run_often(desk, runner, dataset, WARM_UP_RUNS)
        before = resident_bytes()
        threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))

        run_often(desk, runner, dataset, RUNS)

        assert resident_bytes() - before < MOST_GROWTH_BYTES
        assert threading.active_count() <= threads
        assert len(os.listdir("/proc/self/fd")) <= files + 2  # connections to storage that come and go
        assert list(quick.worker_scratch_dir.iterdir()) == []
        assert children() == []


class TestAlternatingLibraries:
    @pytest.mark.timeout(LONGEST_SECONDS + 30)
    def test_never_hang_in_one_worker(self, desk: Desk, workshop: Workshop, csv: bytes) -> None:
        settings = workshop.settings.model_copy(update={"training_threads": 2})
        runner = JobRunner(replace(workshop, settings=settings), "worker-1")
        specs = [
            training(desk, csv, framework=framework, algorithm=algorithm, parameters=parameters)
            for algorithm, (framework, parameters) in FIT.items()
        ]

        def run_all() -> None:
            for number in range(FITS):
                desk.offer(specs[number % len(specs)])
                runner.run(QUEUE)

        worker = threading.Thread(target=run_all, daemon=True)
        worker.start()
        worker.join(LONGEST_SECONDS)

        assert not worker.is_alive()
        assert [end["outcome"] for end in desk.ends] == ["succeeded"] * FITS
