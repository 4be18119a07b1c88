"""scikit-learn estimators as skops files: no code in them, and only types that this list names.

The files are rewritten so that equal estimators give equal bytes: skops names members by memory address and
stamps them with the time.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from ml_service.artifacts.problems import CorruptArtifact

TRUSTED_TYPES = [
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
]
"""What our scikit-learn estimators need beyond skops' own defaults. It is never taken from a file."""

_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a ZIP archive can state."""


def write_skops(estimator: Any, path: Path) -> None:
    from skops.io import dumps

    path.write_bytes(_canonical(dumps(estimator)))


def read_skops(path: Path) -> Any:
    """Raises CorruptArtifact for anything that is not a skops file of trusted types."""
    from skops.io import load
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return load(path, trusted=TRUSTED_TYPES)
    except UntrustedTypesFoundException as error:
        raise CorruptArtifact(f"{path.name} holds types that the platform does not load: {error}.") from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise CorruptArtifact(f"{path.name} cannot be read as a skops file: {error}.") from error


def _canonical(raw: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(raw)) as source:
        schema = json.loads(source.read(_SCHEMA))
        names = _Names()
        names.rename(schema)
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for old, new in names.members.items():
                archive.writestr(_entry(new), source.read(old))
            archive.writestr(_entry(_SCHEMA), json.dumps(schema, separators=(",", ":")))
    return target.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


class _Names:
    """Numbers objects and member files in the order in which the schema first speaks of them.

    An object's number says where it is shared. Plain values are shared or not by accident of the
    interpreter's caches, which has no meaning: they are numbered by their text.
    """

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self.members: dict[str, str] = {}

    def rename(self, node: Any) -> None:
        if isinstance(node, list):
            for each in node:
                self.rename(each)
        elif isinstance(node, dict):
            self._rename_object(node)

    def _rename_object(self, node: dict[str, Any]) -> None:
        if "__id__" in node:
            identity = self._identity(node)
            node["__id__"] = self._numbers.setdefault(identity, len(self._numbers) + 1)
        if isinstance(node.get("file"), str):
            suffix = Path(node["file"]).suffix
            node["file"] = self.members.setdefault(node["file"], f"{len(self.members)}{suffix}")
        for value in node.values():
            self.rename(value)

    @staticmethod
    def _identity(node: dict[str, Any]) -> object:
        if node.get("is_json") or node.get("__loader__") == "TypeNode":
            return node["__loader__"], node["__module__"], node["__class__"], str(node.get("content"))
        return node["__id__"]
