from pathlib import Path

import pytest

from ml_service.serving import golden
from ml_service.serving.demo_models import DemoModels
from ml_service.serving.loaded_models import LoadedVersion, load


@pytest.fixture(params=["demo_model_1", "demo_model_2"])
def version(request: pytest.FixtureRequest, demos: DemoModels) -> LoadedVersion:
    found = demos.find(request.param)
    assert found
    return found.version


class TestDifferences:
    def test_of_what_was_trained_are_none(self, version: LoadedVersion) -> None:
        assert len(version.manifest.golden_rows) >= 10
        assert golden.differences(version) == []

    def test_name_the_row_of_a_model_that_was_altered(
        self, version: LoadedVersion, demo_folder: Path, tmp_path: Path
    ) -> None:
        """The leaves of one tree: what no checksum sees when the manifest was altered with them."""
        name = "demo_model_1" if version.manifest.classes else "demo_model_2"
        lines = (demo_folder / name / "model.txt").read_text().splitlines()
        place = next(n for n, line in enumerate(lines) if line.startswith("leaf_value="))
        # Digit for digit: the file names the length of each tree, and LightGBM aborts the process if it is not so.
        lines[place] = lines[place].translate(str.maketrans("123456", "777777"))
        (tmp_path / "model.txt").write_text("\n".join(lines) + "\n")

        altered = load(version.manifest, version.digest, tmp_path)

        found = golden.differences(altered)
        assert found
        assert found[0].startswith("golden row 0: ")
        assert golden.reason(found).startswith("It does not answer as it did in training: golden row 0")

    def test_name_a_row_that_the_contract_would_refuse(self, version: LoadedVersion) -> None:
        row = version.manifest.golden_rows[0]
        bad = row.model_copy(update={"input": {**row.input, "feature1": "text"}})
        manifest = version.manifest.model_copy(update={"golden_rows": [bad]})
        altered = LoadedVersion(manifest, version.digest, version.predictor, memory_bytes=0)

        (found,) = golden.differences(altered)

        assert "refused" in found
