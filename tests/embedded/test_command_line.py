"""`python -m embedded`: what it prints, how it ends, and that it leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded import Platform, StartFailed
from embedded.layout import REPOSITORY
from embedded.orphans import start_time
from tests.embedded.processes import await_death, await_that

Started = subprocess.Popen[str]


def embedded(*arguments: str, **variables: str) -> Started:
    return subprocess.Popen(
        [sys.executable, "-m", "embedded", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def with_servers(data_dir: Path, *command: str) -> Started:
    return embedded("run", "--servers-only", "--data-dir", str(data_dir), "--", *command)


def journal(data_dir: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((data_dir / "run" / "processes.json").read_text())
    return content


def pids(data_dir: Path) -> dict[str, int]:
    return {name: each["pid"] for name, each in journal(data_dir)["processes"].items()}


@pytest.fixture
def sleeping(tmp_path: Path) -> Iterator[Started]:
    """Servers with a command that waits; ready when it has said so."""
    process = with_servers(
        tmp_path, sys.executable, "-c", "print('here', flush=True); import time; time.sleep(60)"
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "here\n"
        yield process
        if process.poll() is None:
            process.kill()


class TestRun:
    def test_the_exit_code_is_the_command_s(self, tmp_path: Path) -> None:
        process = with_servers(tmp_path, "sh", "-c", "exit 7")

        _, errors = process.communicate(timeout=30)

        assert process.returncode == 7
        assert f"All logs are in {tmp_path / 'logs'}" in errors

    def test_the_command_learns_where_everything_is(self, tmp_path: Path) -> None:
        process = with_servers(
            tmp_path, "sh", "-c", 'echo "$MLP_BASE_URL" "$MLP_ML_URL" "$PLATFORM_DATA_DIR"'
        )

        printed, _ = process.communicate(timeout=30)

        credentials = json.loads((tmp_path / "credentials.json").read_text())
        assert printed.split() == [credentials["api_url"], credentials["ml_url"], str(tmp_path)]

    def test_any_directory_will_do(self, tmp_path: Path) -> None:
        data_dir = tmp_path / "two words, ümlaut" / ("deep" * 30)

        process = with_servers(data_dir, "true")

        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors


class TestEnding:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_to_the_group_ends_everything(
        self, sleeping: Started, tmp_path: Path, number: signal.Signals
    ) -> None:
        running = pids(tmp_path)
        assert len(running) == 4

        os.killpg(sleeping.pid, number)

        assert sleeping.wait(10) == 130
        assert not any(map(start_time, running.values()))
        assert pids(tmp_path) == {}

    def test_a_repeated_signal_of_the_same_gesture_does_not_force(
        self, sleeping: Started, tmp_path: Path
    ) -> None:
        os.killpg(sleeping.pid, signal.SIGTERM)
        os.kill(sleeping.pid, signal.SIGTERM)  # as make passes it on

        assert sleeping.wait(10) == 130
        assert "database system is shut down" in (tmp_path / "logs" / "postgres.log").read_text()

    def test_servers_end_with_a_killed_supervisor(self, sleeping: Started, tmp_path: Path) -> None:
        running = pids(tmp_path)

        sleeping.kill()

        await_death(*running.values())

    def test_the_next_start_ends_what_a_killed_supervisor_left(
        self, sleeping: Started, tmp_path: Path
    ) -> None:
        running = pids(tmp_path)
        for name in ("postgres", "redis-broker"):
            os.kill(running[name], signal.SIGSTOP)  # now they do not notice
        sleeping.kill()
        sleeping.wait(10)
        assert start_time(running["postgres"])

        with Platform(tmp_path, services=()):
            assert not any(map(start_time, running.values()))

    def test_a_process_that_only_has_the_number_of_ours_is_left_alone(
        self, sleeping: Started, tmp_path: Path
    ) -> None:
        sleeping.kill()
        sleeping.wait(10)
        with subprocess.Popen(["sleep", "60"]) as stranger:
            content = journal(tmp_path)
            content["processes"]["postgres"]["pid"] = stranger.pid
            (tmp_path / "run" / "processes.json").write_text(json.dumps(content))

            with Platform(tmp_path, services=()):
                assert stranger.poll() is None
            stranger.kill()


class TestRefusing:
    @pytest.mark.parametrize("setting", ["API_PORT", "ML_PORT"])
    def test_a_taken_port_is_named_with_its_user_and_a_way_out(self, tmp_path: Path, setting: str) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            ports = {"API_PORT": "0", "ML_PORT": "0", setting: str(port)}

            process = embedded("dev", "--data-dir", str(tmp_path), **ports)
            _, errors = process.communicate(timeout=30)

        assert process.returncode == 1
        assert f"Port {port} is in use by process {os.getpid()}" in errors
        assert f"make dev {setting}={port + 10}" in errors
        assert not (tmp_path / "run" / "processes.json").exists()

    def test_a_directory_has_one_platform_at_a_time(self, tmp_path: Path) -> None:
        with Platform(tmp_path, services=()) as first:
            with pytest.raises(StartFailed, match=f"process {os.getpid()}.*already runs"), Platform(tmp_path):
                pass
            assert first.is_ready("postgres")

    def test_platforms_on_other_directories_run_beside_it(self, tmp_path: Path) -> None:
        with Platform(tmp_path / "a", services=()) as a, Platform(tmp_path / "b", services=()) as b:
            assert a.is_ready("postgres")
            assert b.is_ready("postgres")

    def test_data_of_a_running_platform_are_not_deleted(self, sleeping: Started, tmp_path: Path) -> None:
        process = embedded("clean", "--data-dir", str(tmp_path))

        _, errors = process.communicate(timeout=30)

        assert process.returncode == 1
        assert "already runs" in errors


class TestClean:
    def test_only_what_the_platform_made_is_deleted(self, tmp_path: Path) -> None:
        mine = tmp_path / "notes.txt"
        mine.write_text("mine")
        with Platform(tmp_path, services=()):
            pass

        process = embedded("clean", "--data-dir", str(tmp_path))
        process.communicate(timeout=30)

        assert process.returncode == 0
        assert list(tmp_path.iterdir()) == [mine]


def test_memory_names_every_process(sleeping: Started, tmp_path: Path) -> None:
    process = embedded("memory", "--data-dir", str(tmp_path))

    printed, _ = process.communicate(timeout=30)

    names = {line.split()[0] for line in printed.splitlines()}
    assert {"supervisor", "postgres", "redis-broker", "redis-cache", "s3", "total"} <= names
    await_that(lambda: sleeping.poll() is None, seconds=1)
