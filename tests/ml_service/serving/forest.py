"""A version whose library takes its time, so that it is asked in threads."""

from pathlib import Path
from typing import Any

from ml_service.artifacts.model_files import write
from ml_service.training.manifest import manifest_of
from ml_service.training.trainer import train
from platform_kit.contract.algorithms import Framework
from tests.ml_service.factories import ignore, people_table, spec


def grow(folder: Path, *, trees: int = 100) -> dict[str, Any]:
    """Write a random forest and its manifest as a worker does; returns a row of its training."""
    asked = spec("random_forest", parameters={"n_estimators": trees, "max_depth": 6})
    table = people_table(folder, 300)
    model = train(table, asked, ignore, threads=1)
    manifest = manifest_of(model, asked, files=write(model.estimator, Framework.SCIKIT_LEARN, folder))
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    row = table.json_row(0)
    return {name: row[name] for name in manifest.contract.names}
