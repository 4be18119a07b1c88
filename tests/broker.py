"""A broker that a test may stop and start as it likes."""

import signal
import socket
import subprocess
import time
from pathlib import Path

import redis

from embedded.servers import Binaries


class Broker:
    """Not running at first; it keeps its port, its password and its data."""

    def __init__(self, folder: Path, *, password: str = "a password for tests") -> None:
        self._folder, self._password = folder, password
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, *, password: str | None = None) -> str:
        return f"redis://:{(password or self._password).replace(' ', '%20')}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                str(Binaries.find().valkey),
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)),
                *("--appendonly", "yes", "--requirepass", self._password),
            ],
            stdout=subprocess.DEVNULL,
        )
        with redis.Redis.from_url(self.url()) as client:
            self._await(client)

    def _await(self, client: redis.Redis) -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                client.ping()
            except redis.ConnectionError:
                time.sleep(0.05)
            else:
                return
        raise TimeoutError("the broker does not start")

    def freeze(self) -> None:
        """It keeps its connections, and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        self._process.wait()
        self._process = None
