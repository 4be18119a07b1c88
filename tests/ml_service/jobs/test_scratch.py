import subprocess
import sys
from pathlib import Path

from ml_service.jobs.scratch import Scratch

DIES_AT_ONCE = """
import os, sys
from pathlib import Path
from ml_service.jobs.scratch import Scratch

(Scratch(Path(sys.argv[1])).folder / "dataset.csv").write_bytes(b"x")
os._exit(1)
"""


class TestScratch:
    def test_of_a_dead_worker_is_cleared_away(self, tmp_path: Path) -> None:
        subprocess.run([sys.executable, "-c", DIES_AT_ONCE, str(tmp_path)], check=False)
        (left,) = tmp_path.iterdir()

        mine = Scratch(tmp_path)

        assert (left / "dataset.csv").exists() is False
        assert list(tmp_path.iterdir()) == [mine.folder]

    def test_of_a_living_worker_is_left_alone(self, tmp_path: Path) -> None:
        first = Scratch(tmp_path / "made" / "when missing")
        (first.folder / "dataset.csv").write_bytes(b"x")

        second = Scratch(tmp_path / "made" / "when missing")

        assert first.folder != second.folder
        assert (first.folder / "dataset.csv").read_bytes() == b"x"
