"""Two small models that answer anybody, so that a newcomer's first call works. They are trained for real, once."""

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from ml_service.artifacts.files import appearing, sha256_of
from ml_service.serving.found import Found
from ml_service.serving.loaded_models import load
from platform_kit.contract.algorithms import Framework
from platform_kit.contract.artifact import Manifest, Task
from platform_kit.contract.jobs import DatasetRef, TrainSpec
from platform_kit.contract.schema import FileType
from platform_kit.contract.serving_options import ServingOptions

ROWS = 2000
SEED = 20_260
FEATURES = ("feature1", "feature2", "feature3", "feature4")
FLIPPED = 0.1
NOISE = 1.0
TRAINING_TIMEOUT_SECONDS = 60
NOBODY = UUID(int=0)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Demo:
    """rule: what the target is made of, in words that the model's page shows."""

    name: str
    task: Task
    rule: str
    target: Callable[[list[float], random.Random], str]


def _label(row: list[float], chance: random.Random) -> str:
    is_positive = row[0] + 2 * row[1] - row[2] > 0
    return str(int(is_positive != (chance.random() < FLIPPED)))


def _amount(row: list[float], chance: random.Random) -> str:
    return repr(3 * row[0] - 2 * row[1] + row[2] * row[3] + chance.gauss(0, NOISE))


DEMOS = (
    Demo(
        "demo_model_1",
        Task.CLASSIFICATION,
        "1 if feature1 + 2*feature2 - feature3 > 0, else 0; one label in ten is turned round at random",
        _label,
    ),
    Demo(
        "demo_model_2",
        Task.REGRESSION,
        "3*feature1 - 2*feature2 + feature3*feature4, plus normal noise with standard deviation 1",
        _amount,
    ),
)


class DemoModels:
    def __init__(self, found: dict[str, Found]) -> None:
        self._found = found

    @property
    def all(self) -> list[Found]:
        return list(self._found.values())

    def find(self, ref: str) -> Found | None:
        return self._found.get(ref)


def rule_of(model_id: str) -> str | None:
    return next((each.rule for each in DEMOS if each.name == model_id), None)


def prepare(folder: Path) -> DemoModels:
    """Load the demo models from `folder`, training those that are not there. Blocks, some seconds the first time."""
    return DemoModels({demo.name: _prepared(demo, folder / demo.name) for demo in DEMOS})


def none() -> DemoModels:
    return DemoModels({})


def _prepared(demo: Demo, folder: Path) -> Found:
    manifest = _stored(folder)
    if manifest is None:
        log.info("demo_model.training", model=demo.name)
        _train(demo, folder)
        manifest = _stored(folder)
    if manifest is None:
        raise RuntimeError(f"{demo.name} was trained, but {folder} does not hold it")
    version = load(manifest, manifest.digest(), folder)
    return Found(
        model_id=demo.name,
        name=demo.name,
        endpoint=demo.name,
        framework=manifest.framework,
        model_type=manifest.task,
        number=1,
        version=version,
        servable=version.under(ServingOptions(), "{}"),
    )


def _stored(folder: Path) -> Manifest | None:
    """A version trained before, if every byte of it is still there."""
    try:
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
        if all(sha256_of(folder / file.name) == file.sha256 for file in manifest.files):
            return manifest
    except (OSError, ValueError):
        pass
    return None


def _train(demo: Demo, folder: Path) -> None:
    """Another process that shares the cache may do the same: the first one's model stays."""
    shutil.rmtree(folder, ignore_errors=True)
    with appearing(folder) as partial:
        data = partial / "data.csv"
        _write_rows(demo, data)
        manifest = _open_to_any_number(_run_child(demo, data, partial))
        (partial / "manifest.json").write_text(manifest.model_dump_json())


def _write_rows(demo: Demo, path: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311  # sample data, not a secret
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*FEATURES, "target"])
        for _ in range(ROWS):
            row = [chance.gauss(0, 1) for _ in FEATURES]
            writer.writerow([*map(repr, row), demo.target(row, chance)])


def _run_child(demo: Demo, data: Path, output: Path) -> Manifest:
    """Train in the same disposable process as every job: this one must not grow by what training needs."""
    spec = TrainSpec(
        model_id=NOBODY,
        dataset=DatasetRef(
            dataset_id=NOBODY,
            version=1,
            key="",
            sha256=sha256_of(data),
            size_bytes=data.stat().st_size,
            file_type=FileType.CSV,
        ),
        task=demo.task,
        framework=Framework.LIGHTGBM,
        algorithm="lightgbm",
        parameters={"n_estimators": 80, "num_leaves": 15, "learning_rate": 0.1},
        target="target",
        seed=SEED,
    )
    order = {"job": spec.model_dump(mode="json"), "dataset_path": str(data), "output_dir": str(output)}
    child = subprocess.run(
        [sys.executable, "-m", "ml_service.child"],
        input=json.dumps(order) + "\n",
        capture_output=True,
        text=True,
        timeout=TRAINING_TIMEOUT_SECONDS,
        check=True,
        env={**os.environ, "PARENT_PID": str(os.getpid())},
    )
    last = json.loads(child.stdout.splitlines()[-1])
    if last["type"] != "result":
        raise RuntimeError(f"{demo.name} could not be trained: {last}")
    return Manifest.model_validate(last["manifest"])


def _open_to_any_number(manifest: Manifest) -> Manifest:
    """A demo takes any finite number without a warning: its contract has no ranges."""
    fields = [each.model_copy(update={"minimum": None, "maximum": None}) for each in manifest.contract.fields]
    contract = manifest.contract.model_copy(update={"fields": fields})
    return manifest.model_copy(update={"contract": contract})
