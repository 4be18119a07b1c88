"""ml-service as a process of its own, behind a real socket, as it is deployed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from ml_service.settings import Settings
from platform_kit.plumbing.object_store import ObjectStore
from tests.end_to_end.stack import free_port
from tests.ml_service.peer import running_peer
from tests.ml_service.serving.calling import OWNER, ControlPlane

READY_SECONDS, STOP_SECONDS = 60.0, 20.0


class ServiceProcess:
    """program: a module of the test's own in place of `ml_service.main`. variables: settings of this process."""

    def __init__(
        self, folder: Path, demos: Path, *, program: str = "ml_service.main", **variables: str
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"ml-service-{self.port}.log"
        cache = folder / f"cache-{self.port}"
        cache.mkdir()
        (cache / "demo").symlink_to(demos)
        own = {"ML_PORT": str(self.port), "ML_CACHE_DIR": str(cache), "SYNC_INTERVAL_SECONDS": "0.05"}
        # The limits of rates are off: the tests ask faster than anybody may.
        rates = {"PREDICT_RATE_LIMIT_ADDRESS": "off", "PREDICT_RATE_LIMIT_PRINCIPAL": "off"}
        self._environment = {**os.environ, "MALLOC_ARENA_MAX": "2", **own, **rates, **variables}
        self._command = [sys.executable, "-m", program]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready:
            assert self._process.poll() is None, self.tail()
            assert time.monotonic() < deadline, self.tail()
            time.sleep(0.05)

    @property
    def is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/health/ready", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    def await_version(self, number: int, endpoint: str = "churn") -> None:
        deadline = time.monotonic() + READY_SECONDS
        while number not in self._versions(endpoint):
            assert time.monotonic() < deadline, self.tail()
            time.sleep(0.05)

    def _versions(self, endpoint: str) -> list[int]:
        found = httpx2.get(f"{self.url}/models", headers=OWNER, timeout=30).json()["models"]
        return [each["version"] for each in found if each["name"] == endpoint]

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self._process
        self._process.send_signal(number)

    def ended(self, *, within: float = STOP_SECONDS) -> int:
        """Wait for its end; returns the exit code."""
        assert self._process
        return self._process.wait(within)

    def stop(self) -> int:
        self.signal()
        return self.ended()

    def close(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def faults(self) -> list[str]:
        """Requests that ended in an error nobody had thought of (500)."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if '"request.failed"' in line or "Exception in ASGI" in line]


@dataclass(frozen=True)
class Scene:
    """A place where services can run: who tells them what to serve, and where the versions lie."""

    folder: Path
    demos: Path
    control: ControlPlane
    store: ObjectStore

    def service(self, **facts: str) -> AbstractContextManager[ServiceProcess]:
        return service_process(self.folder, self.demos, **facts)


@contextmanager
def scene(environment: Mapping[str, str], folder: Path, demos: Path) -> Iterator[Scene]:
    """For more than one test, where fixtures of each test are too short-lived."""
    with running_peer() as peer, pytest.MonkeyPatch.context() as patch:
        own = {"API_INTERNAL_URL": peer.url, "ML_CACHE_DIR": str(folder), "WORKER_SCRATCH_DIR": str(folder)}
        for name, value in {**environment, **own}.items():
            patch.setenv(name, value)
        store = ObjectStore.from_settings(Settings.from_environment())
        store.prepare()
        yield Scene(folder, demos, ControlPlane(peer), store)


@contextmanager
def service_process(folder: Path, demos: Path, **facts: str) -> Iterator[ServiceProcess]:
    with contextlib.closing(ServiceProcess(folder, demos, **facts)) as process:
        process.start()
        yield process
