"""The process that runs a job, and the worker that starts it: no credentials in one, no libraries in the other."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ml_service.jobs import child_process
from ml_service.jobs.child_process import ChildProcess
from ml_service.settings import Settings


class TestChildProcess:
    def test_sees_no_credential(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("INTERNAL_TOKEN", "S3_SECRET_KEY", "BROKER_URL", "DATABASE_URL"):
            monkeypatch.setenv(name, "a secret")
        child = ChildProcess({}, threads=1, memory_limit_bytes=None, folder=tmp_path)

        seen = Path(f"/proc/{child.pid}/environ").read_bytes()
        child.kill(grace_seconds=0)
        child.close()

        assert b"a secret" not in seen

    def test_is_killed_though_it_does_not_listen(self, tmp_path: Path) -> None:
        child = ChildProcess({}, threads=1, memory_limit_bytes=None, folder=tmp_path)
        os.kill(child.pid, 19)  # stopped, it cannot even handle a signal

        child.kill(grace_seconds=0.2)
        child.close()

        assert child.wait() < 0
        assert not Path(f"/proc/{child.pid}").exists()

    def test_that_floods_leaves_no_thread_behind(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        noisy = tmp_path / "noisy.py"
        noisy.write_text("print('x' * 100, flush=True)\n" * 5 + "while True: print('{}' * 50)\n")
        monkeypatch.setattr(child_process, "PROGRAM", [str(noisy)])
        threads = threading.active_count()
        child = ChildProcess({}, threads=1, memory_limit_bytes=None, folder=tmp_path)
        time.sleep(0.5)

        child.kill(grace_seconds=0.2)
        child.close()

        assert threading.active_count() == threads


class TestWorkerProcess:
    def test_a_killed_worker_leaves_no_child(self, tmp_path: Path) -> None:
        """The child watches its parent; here the parent is a process that only starts one and waits."""
        script = (
            "import subprocess, sys, os, time\n"
            "child = subprocess.Popen([sys.executable, '-m', 'ml_service.child'], stdin=subprocess.PIPE,\n"
            "                         env={**os.environ, 'PARENT_PID': str(os.getpid())}, start_new_session=True)\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(60)\n"
        )
        worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert worker.stdout
        child = int(worker.stdout.readline())
        time.sleep(1.0)
        assert Path(f"/proc/{child}").exists()

        worker.kill()
        worker.wait()
        worker.stdout.close()

        deadline = time.monotonic() + 5
        while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{child}").exists()

    def test_loads_no_machine_learning(self, settings: Settings, environment: dict[str, str]) -> None:
        script = (
            "import sys, ml_service.worker\n"
            "heavy = {'numpy', 'pandas', 'scipy', 'sklearn', 'lightgbm', 'xgboost', 'pyarrow'}\n"
            "print(sorted(heavy & set(sys.modules)))"
        )

        printed = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )

        assert printed.stdout.strip() == "[]"
