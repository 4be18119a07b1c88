import hashlib
from pathlib import Path

import pytest

from ml_service.artifacts.files import described, verify
from ml_service.artifacts.labels import label_key
from ml_service.artifacts.problems import CorruptArtifact


class TestVerify:
    def test_accepts_the_bytes_that_were_promised(self, tmp_path: Path) -> None:
        path = tmp_path / "model.ubj"
        path.write_bytes(b"model")

        found = described(path)

        assert found.sha256 == hashlib.sha256(b"model").hexdigest()
        assert found.key == f"artifacts/{found.sha256[:2]}/{found.sha256}"
        assert (found.name, found.size_bytes) == ("model.ubj", 5)
        verify(path, found.sha256)

    def test_refuses_other_bytes_and_a_missing_file(self, tmp_path: Path) -> None:
        path = tmp_path / "model.ubj"
        path.write_bytes(b"mod\x00l")

        with pytest.raises(CorruptArtifact, match="hashes to"):
            verify(path, hashlib.sha256(b"model").hexdigest())
        with pytest.raises(CorruptArtifact, match="missing"):
            verify(tmp_path / "other", "0" * 64)


@pytest.mark.parametrize(
    ("label", "expected"),
    [("yes", "yes"), (True, "true"), (False, "false"), (3, "3"), (1.0, "1.0"), (0.5, "0.5")],
)
def test_labels_are_spelt_as_json(label: str | float | bool, expected: str) -> None:
    assert label_key(label) == expected
