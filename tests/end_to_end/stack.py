"""The embedded platform as the tests run it: a process of its own, on free ports and in its own directory."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
READY_SECONDS = 120.0
STOP_SECONDS = 40.0
QUICK = {
    "ACCESS_TOKEN_SECONDS": "3000",
    "JOB_LEASE_SECONDS": "6",
    "JOB_HEARTBEAT_SECONDS": "1",
    "RELAY_POLL_SECONDS": "0.5",
    "REAPER_INTERVAL_SECONDS": "1",
    "JOB_RERING_SECONDS": "5",
    "MODEL_CACHE_ENTRIES": "3",
}
"""So that tokens outlive the run, a lost worker is noticed within seconds, and models have to leave memory."""


class Stack:
    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] = QUICK) -> None:
        self.data_dir, self._settings = data_dir, dict(settings)
        self.api_url, self.ml_url = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self._settings,
            "API_PORT": self.api_url.rpartition(":")[2],
            "ML_PORT": self.ml_url.rpartition(":")[2],
            "PLATFORM_DATA_DIR": str(self.data_dir),
        }

    def start(self) -> None:
        """Start it and wait until it prints that it is ready."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "embedded", "dev"],
                cwd=REPOSITORY,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_SECONDS
        while "platform ready" not in self.log.read_text().splitlines():
            if self._process.poll() is not None or time.monotonic() > deadline:
                end = self.log.read_text()[-4000:]
                self.stop()
                raise AssertionError(f"the platform did not become ready:\n{end}")
            time.sleep(0.1)

    def stop(self) -> int:
        """Ctrl-C; returns the exit code."""
        assert self._process
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise

    def kill_supervisor(self) -> None:
        """`kill -9` the process that keeps the others."""
        assert self._process
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def pids(self) -> dict[str, int]:
        """Name to pid of each process that runs now."""
        return {name: each["pid"] for name, each in self._journal()["processes"].items()}

    def kill(self, name: str) -> int:
        """`kill -9` one process; returns the pid it had."""
        pid = self.pids()[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    def await_return(self, name: str, *, old_pid: int, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while self.pids().get(name) in (None, old_pid):
            assert time.monotonic() < deadline, f"{name} was not started again within {seconds:g} s"
            time.sleep(0.1)

    def faults(self) -> list[str]:
        """Requests that ended in an error nobody had thought of (500), as the services logged them."""
        logs = [self.data_dir / "logs" / f"{name}.log" for name in ("api-server", "ml-service")]
        return [line for log in logs for line in log.read_text().splitlines() if '"request.failed"' in line]

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of this repository against the platform, and return what it printed."""
        addresses = {
            "MLP_BASE_URL": self.api_url,
            "MLP_ML_URL": self.ml_url,
            "API_URL": self.api_url,
            "ML_URL": self.ml_url,
        }
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env={**self.environment, **addresses, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )

    def _journal(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.data_dir / "run" / "processes.json").read_text())
        return content


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
