"""The child as its parent sees it: a process, one line in, lines out."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ml_service.artifacts.files import verify
from ml_service.artifacts.predictor import Predictor
from platform_kit.contract.artifact import Manifest
from platform_kit.contract.inputs import RowChecker
from platform_kit.contract.jobs import JobKind, ProfileResult, ProfileSpec, Progress, TrainSpec
from tests.ml_service.factories import people, spec


def run(job: TrainSpec | ProfileSpec, dataset: Path, output: Path) -> list[dict[str, Any]]:
    output.mkdir(exist_ok=True)
    order = {"job": job.model_dump(mode="json"), "dataset_path": str(dataset), "output_dir": str(output)}
    done = subprocess.run(
        [sys.executable, "-m", "ml_service.child"],
        input=json.dumps(order) + "\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def dataset(directory: Path) -> Path:
    path = directory / "people.csv"
    people().to_csv(path, index=False)
    return path


class TestTraining:
    def test_two_runs_end_in_the_same_version_and_it_predicts(self, tmp_path: Path) -> None:
        path, asked = dataset(tmp_path), spec("random_forest")

        lines, again = run(asked, path, tmp_path / "one"), run(asked, path, tmp_path / "two")

        manifest = Manifest.model_validate(lines[-1]["manifest"])
        assert manifest.digest() == Manifest.model_validate(again[-1]["manifest"]).digest()
        assert [each["type"] for each in lines].count("result") == 1
        for file in manifest.files:
            verify(tmp_path / "one" / file.name, file.sha256)
        checker = RowChecker(manifest.contract)
        rows = [checker.check(row.input, pointer=[]).values for row in manifest.golden_rows]
        answers = Predictor(manifest, tmp_path / "one").predict(rows)
        assert [label for label, _ in answers] == [row.prediction for row in manifest.golden_rows]

    def test_progress_never_goes_back_and_ends_at_100(self, tmp_path: Path) -> None:
        lines = run(spec("xgboost"), dataset(tmp_path), tmp_path / "out")

        progress = [Progress.model_validate(each) for each in lines if each["type"] == "progress"]
        percents = [each.percent for each in progress]
        assert percents == sorted(percents)
        assert (percents[0], percents[-1]) == (0, 100)
        assert lines[-1]["type"] == "result"

    def test_what_the_library_warns_of_is_logged(self, tmp_path: Path) -> None:
        asked = spec("logistic_regression", parameters={"max_iter": 1})

        lines = run(asked, dataset(tmp_path), tmp_path / "out")

        logs = [each for each in lines if each["type"] == "log"]
        assert logs
        assert logs[0]["level"] == "warning"
        assert "converge" in logs[0]["message"]

    def test_a_problem_of_the_data_is_an_answer_and_not_a_crash(self, tmp_path: Path) -> None:
        lines = run(spec(target="churn"), dataset(tmp_path), tmp_path / "out")

        assert lines[-1]["type"] == "error"
        assert lines[-1]["problem"]["code"] == "target_missing"
        assert lines[-1]["problem"]["status"] == 422


class TestProfiling:
    def test_a_good_file_gives_its_profile(self, tmp_path: Path) -> None:
        job = ProfileSpec(dataset=spec().dataset)

        lines = run(job, dataset(tmp_path), tmp_path / "out")

        result = ProfileResult.model_validate(lines[-1])
        assert (lines[-1]["type"], result.kind) == ("result", JobKind.PROFILE)
        assert result.statistics.row_count == 300

    def test_a_ragged_file_gives_its_line(self, tmp_path: Path) -> None:
        path = tmp_path / "ragged.csv"
        path.write_text("a,b\n1,2\n3\n")

        lines = run(ProfileSpec(dataset=spec().dataset), path, tmp_path / "out")

        assert lines[-1]["problem"]["code"] == "ragged_rows"
        assert lines[-1]["problem"]["errors"][0]["line"] == 3


class TestProtocol:
    def test_stray_prints_do_not_reach_the_parent(self) -> None:
        script = (
            "import os\nfrom ml_service.child import Parent\nparent = Parent.on_stdout()\n"
            "print('python prints', flush=True)\nos.write(1, b'a library prints')\n"
            "parent.tell('log', {'message': 'grüße'})\n"
        )

        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, encoding="utf-8", timeout=60, check=True
        )

        assert done.stdout == '{"type":"log","message":"grüße"}\n'
        assert "python prints" in done.stderr
        assert "a library prints" in done.stderr

    def test_an_order_that_makes_no_sense_is_a_crash(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "ml_service.child"],
            input=b"{}\n",
            capture_output=True,
            timeout=60,
            check=False,
        )

        assert done.returncode != 0
        assert done.stdout == b""
