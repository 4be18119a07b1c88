import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml_service.artifacts.files import appearing, described, verify, write_private
from ml_service.artifacts.problems import CorruptArtifact
from platform_kit.contract.labels import label_key


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


class TestAppearing:
    def test_shows_a_folder_when_it_is_whole(self, tmp_path: Path) -> None:
        with appearing(tmp_path / "cache" / "it") as partial:
            (partial / "a").write_text("x")
            assert not (tmp_path / "cache" / "it").exists()

        assert (tmp_path / "cache" / "it" / "a").read_text() == "x"
        assert [each.name for each in (tmp_path / "cache").iterdir()] == ["it"]

    def test_leaves_nothing_of_what_failed(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeError), appearing(tmp_path / "it"):
            raise RuntimeError

        assert list(tmp_path.iterdir()) == []

    def test_keeps_the_folder_that_another_made_meanwhile(self, tmp_path: Path) -> None:
        with appearing(tmp_path / "it") as partial:
            (partial / "a").write_text("late")
            (tmp_path / "it").mkdir()
            (tmp_path / "it" / "a").write_text("early")

        assert (tmp_path / "it" / "a").read_text() == "early"
        assert len(list(tmp_path.iterdir())) == 1

    def test_fails_when_a_file_has_the_name(self, tmp_path: Path) -> None:
        with pytest.raises(NotADirectoryError), appearing(tmp_path / "it"):
            (tmp_path / "it").write_text("a file")


class TestWritePrivate:
    def test_by_many_at_once_leaves_one_whole_file_for_its_owner(self, tmp_path: Path) -> None:
        path = tmp_path / "made" / "state.json"
        contents = [bytes([97 + number]) * 500_000 for number in range(8)]

        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda content: write_private(path, content), contents * 3))

        assert path.read_bytes() in contents
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("label", "expected"),
    [("yes", "yes"), (True, "true"), (False, "false"), (3, "3"), (1.0, "1.0"), (0.5, "0.5")],
)
def test_labels_are_spelt_as_json(label: str | float | bool, expected: str) -> None:
    assert label_key(label) == expected
