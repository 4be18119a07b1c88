"""The commands as a person meets them, with Docker's own answers played by small programs on the PATH."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    return directory


def program(directory: Path, name: str, script: str) -> None:
    """A stand-in for a program of the system whose versions and faults cannot be had here at will."""
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def run(bin_dir: Path, *arguments: str, env_file: Path | None = None) -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, "-m", "compose", "--env-file", str(env_file or bin_dir.parent / ".env"), *arguments],
        cwd=REPOSITORY,
        env={"PATH": str(bin_dir), "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in ran.stdout
    return ran.returncode, ran.stdout


class TestFindingCompose:
    def test_without_docker_says_how_to_get_it_or_do_without(self, bin_dir: Path) -> None:
        code, said = run(bin_dir, "up")

        assert code == 1
        assert "Docker is not installed" in said
        assert "make dev" in said

    def test_of_version_one_says_what_to_install(self, bin_dir: Path) -> None:
        program(bin_dir, "docker", "echo \"docker: 'compose' is not a docker command\" >&2; exit 1")
        program(bin_dir, "docker-compose", "echo 1.29.2")

        code, said = run(bin_dir, "up")

        assert code == 1
        assert "Compose 1.29.2 is too old" in said
        assert "docker-compose-plugin" in said

    def test_takes_the_standalone_binary_where_there_is_no_plugin(self, bin_dir: Path) -> None:
        program(bin_dir, "docker", "exit 1")
        program(
            bin_dir, "docker-compose", 'case "$1" in version) echo 2.40.3;; *) echo "compose ran: $*";; esac'
        )

        run(bin_dir, "dev-setup")

        code, said = run(bin_dir, "run", "--profile", "core", "ps", "-q")

        assert code == 0
        assert "--profile core ps -q" in said


class TestUp:
    def test_without_an_engine_says_how_to_start_it(self, bin_dir: Path) -> None:
        script = 'case "$1" in compose) echo 2.40.3;; *) echo "Cannot connect to the Docker daemon" >&2; exit 1;; esac'
        program(bin_dir, "docker", script)

        code, said = run(bin_dir, "up")

        assert code == 1
        assert "The Docker engine does not answer (Cannot connect to the Docker daemon)" in said
        assert ".env is missing. Run: make dev-setup" in said

    def test_by_somebody_who_may_not_talk_to_the_engine(self, bin_dir: Path) -> None:
        fault = 'echo "permission denied while trying to connect" >&2; exit 1'
        program(bin_dir, "docker", f'case "$1" in compose) echo 2.40.3;; *) {fault};; esac')

        assert "usermod -aG docker" in run(bin_dir, "up")[1]

    def test_with_an_old_engine_says_which_is_needed(self, bin_dir: Path) -> None:
        program(bin_dir, "docker", 'case "$1" in compose) echo 2.40.3;; *) echo 20.10.24;; esac')

        assert "Docker Engine 20.10.24 is too old; 25 or newer is needed." in run(bin_dir, "up")[1]


class TestDevSetup:
    def test_writes_once_and_then_leaves_it(self, bin_dir: Path) -> None:
        assert run(bin_dir, "dev-setup")[0] == 0
        written = (bin_dir.parent / ".env").read_bytes()

        code, said = run(bin_dir, "dev-setup")

        assert code == 0
        assert "stays as it is" in said
        assert (bin_dir.parent / ".env").read_bytes() == written

    def test_says_what_an_older_file_lacks(self, bin_dir: Path) -> None:
        (bin_dir.parent / ".env").write_text("JWT_SECRET=kept\n")

        code, said = run(bin_dir, "dev-setup")

        assert code == 1
        assert "S3_SECRET_KEY=" in said
        assert (bin_dir.parent / ".env").read_text() == "JWT_SECRET=kept\n"


class TestArguments:
    @pytest.mark.parametrize("replicas", ["0", "-1", "two"])
    def test_of_scale_that_are_no_number_are_told(self, bin_dir: Path, replicas: str) -> None:
        program(bin_dir, "docker", "echo 2.40.3")
        run(bin_dir, "dev-setup")

        code, said = run(bin_dir, "scale", "--", "ml-service", replicas)

        assert code == 1
        assert f"{replicas} is no number of replicas" in said

    def test_without_an_environment_name_the_command(self, bin_dir: Path) -> None:
        program(bin_dir, "docker", "echo 2.40.3")

        code, said = run(bin_dir, "health")

        assert code == 1
        assert said.startswith(".env is missing. Run: make dev-setup")


class TestConfirmation:
    @pytest.mark.parametrize("command", [("clean",), ("restore", "backup")])
    def test_is_needed_before_data_are_deleted(
        self, bin_dir: Path, tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        run(bin_dir, "dev-setup")
        known = """*version*) echo 2.40.3;; *config*) echo '{"name": "mlp-mine", "services": {}}';;"""
        program(bin_dir, "docker", f'case "$*" in {known} *) : > "$0.called";; esac')

        code, said = run(bin_dir, *command)

        assert code == 1
        assert ("YES=1" in said and "the platform 'mlp-mine'" in said) or "no complete backup" in said
        assert not (bin_dir / "docker.called").exists()

    def test_of_a_restore_without_a_name_asks_which(self, bin_dir: Path) -> None:
        run(bin_dir, "dev-setup")
        program(bin_dir, "docker", "echo 2.40.3")

        assert "Which one? make restore FROM=" in run(bin_dir, "restore")[1]
