"""PostgreSQL refuses root: both ways of running it for root, and plainly for a normal user."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded import Platform, StartFailed, servers
from embedded.layout import REPOSITORY
from embedded.postgres import identity_for
from embedded.recipe import Identity

NORMAL_USER = 1000
PROGRAMS = servers.Binaries.find().postgres

only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


def others_may_enter(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


def can_run_python(user: int) -> bool:
    try:
        subprocess.run([sys.executable, "-c", ""], user=user, cwd=REPOSITORY, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


only_open = pytest.mark.skipif(
    os.getuid() != 0 or not can_run_python(NORMAL_USER),
    reason="other users cannot enter this repository, or the directory of its Python",
)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Pytest's own directories cannot be entered by other users."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        yield directory


def owner_of_postgres(platform: Platform) -> int:
    return Path(f"/proc/{platform.pid('postgres')}").stat().st_uid


@only_root
class TestAsRoot:
    def test_files_stay_its_own_in_a_directory_that_nobody_else_may_enter(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)

        with Platform(tmp_path / "data", services=()):
            assert (tmp_path / "data" / "postgres").stat().st_uid == 0

    @pytest.mark.skipif(not others_may_enter(PROGRAMS), reason=f"other users cannot enter {PROGRAMS}")
    def test_data_follow_when_the_way_of_running_it_changes(
        self, open_directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data_dir = open_directory / "data"
        for identity, owner in ((Identity.NOBODY, 65534), (Identity.NAMESPACE, 0), (Identity.NOBODY, 65534)):
            with monkeypatch.context() as patch:
                patch.setattr(servers, "identity_for", lambda *_, identity=identity: identity)
                with Platform(data_dir, services=()) as platform:
                    assert owner_of_postgres(platform) == owner
                    assert (data_dir / "postgres").stat().st_uid == owner

    @only_open
    def test_a_normal_user_needs_nothing_special(self, open_directory: Path) -> None:
        ran = run_as(NORMAL_USER, data_dir=open_directory / "data")

        assert ran.returncode == 0, ran.stderr
        assert (open_directory / "data" / "postgres").stat().st_uid == NORMAL_USER

    @only_open
    def test_a_normal_user_is_told_that_the_data_belong_to_somebody_else(self, open_directory: Path) -> None:
        with Platform(open_directory / "data", services=()):
            pass

        ran = run_as(NORMAL_USER, data_dir=open_directory / "data")

        assert ran.returncode == 1
        assert "PLATFORM_DATA_DIR=" in ran.stderr
        assert "Traceback" not in ran.stderr

    def test_it_says_so_when_there_is_no_way(self, tmp_path: Path) -> None:
        with pytest.raises(StartFailed, match="as a normal user"):
            identity_for(Path("/bin/false"), tmp_path / "postgres")


def run_as(user: int, *, data_dir: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "embedded",
            "run",
            "--servers-only",
            "--data-dir",
            str(data_dir),
            "--",
            "true",
        ],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        user=user,
        group=user,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
