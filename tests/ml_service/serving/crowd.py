"""A version that learnt from `people`: every column type, and gaps in three columns."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_service.artifacts.model_files import write
from ml_service.training.manifest import manifest_of
from ml_service.training.splitting import split
from ml_service.training.trainer import train
from platform_kit.contract.algorithms import Framework
from platform_kit.contract.artifact import Manifest
from tests.ml_service.factories import ignore, people, spec, table_from

ROWS = 300


@dataclass(frozen=True)
class Crowd:
    """rows: as JSON holds them, without the target; learnt: those that the model was trained on.

    `age` and `income` have no gaps.
    """

    folder: Path
    manifest: Manifest
    rows: list[dict[str, Any]]
    learnt: list[dict[str, Any]]


def trained(folder: Path) -> Crowd:
    frame = people(ROWS)
    frame["income"] = frame["income"].fillna(3000.0)
    table = table_from(frame, folder)
    asked = spec("lightgbm")
    model = train(table, asked, ignore, threads=1)
    manifest = manifest_of(model, asked, files=write(model.estimator, Framework.LIGHTGBM, folder))
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    rows = [_row(table.json_row(place), manifest) for place in range(ROWS)]
    classes = (frame["bought"] == "yes").to_numpy().astype("int64")
    learnt, _, _ = split(classes, by_class=True, fraction=asked.test_fraction, seed=manifest.seed)
    return Crowd(folder, manifest, rows, [rows[place] for place in learnt.tolist()])


def _row(row: dict[str, Any], manifest: Manifest) -> dict[str, Any]:
    named: dict[str, Any] = json.loads(json.dumps({name: row[name] for name in manifest.contract.names}))
    return named
