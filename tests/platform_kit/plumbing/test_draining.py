"""SIGTERM: a service says that it goes, answers what it has taken, and ends as it was told."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from platform_kit.plumbing.http import GRACE_SECONDS
from tests.end_to_end.stack import free_port

START_SECONDS, SLACK_SECONDS = 30.0, 5.0
BODY = json.dumps({"name": "ada", "size": 1}).encode()


class Served:
    def __init__(self, drain_seconds: float) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "tests.platform_kit.plumbing.served", str(self.port)]
        self.process = subprocess.Popen([*command, str(drain_seconds)])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except ConnectionRefusedError:
            return False
        return True

    def await_start(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.listens():
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.02)

    def ended(self, within: float) -> int:
        return self.process.wait(within)


@contextmanager
def served(drain_seconds: float = 0) -> Iterator[Served]:
    found = Served(drain_seconds)
    try:
        found.await_start()
        yield found
    finally:
        found.process.kill()
        found.process.wait()


class Caller:
    """A connection that sends the rest of its body when it is told to."""

    def __init__(self, service: Served) -> None:
        self._socket = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        head = "POST /things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY[:10])

    def finish(self) -> str:
        self._socket.sendall(BODY[10:])
        return self.read()

    def read(self) -> str:
        """All that comes until the other side closes."""
        with self._socket:
            return b"".join(iter(lambda: self._socket.recv(65536), b"")).decode()


class TestDraining:
    def test_is_said_while_requests_are_still_answered(self) -> None:
        with served(2) as service, httpx2.Client(base_url=service.url) as http:
            assert "connection" not in http.get("/health").headers
            asked = time.monotonic()
            service.process.terminate()
            time.sleep(0.2)
            ready, live = http.get("/health/ready"), http.get("/health")
            answer = http.post("/things", content=BODY, headers={"Content-Type": "application/json"})
            while service.listens():
                lasted = time.monotonic() - asked
                time.sleep(0.02)

            assert service.ended(SLACK_SECONDS) == 0
        assert (ready.status_code, ready.json()["status"]) == (503, "draining")
        assert ready.json()["checks"]["draining"]["ok"] is False
        assert (live.status_code, answer.status_code, answer.headers["connection"]) == (200, 200, "close")
        assert lasted > 1.5

    @pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
    def test_ends_sooner_when_it_is_told_again(self, second: signal.Signals) -> None:
        with served(60) as service:
            service.process.terminate()
            time.sleep(0.3)
            service.process.send_signal(second)

            assert service.ended(SLACK_SECONDS) == 0

    def test_does_not_follow_on_ctrl_c(self) -> None:
        with served(60) as service:
            service.process.send_signal(signal.SIGINT)

            assert service.ended(SLACK_SECONDS) == 0


class TestEnd:
    @pytest.mark.parametrize("drain_seconds", [0, 0.5])
    def test_answers_every_request_that_has_begun(self, drain_seconds: float) -> None:
        with served(drain_seconds) as service:
            callers = [Caller(service) for _ in range(20)]
            time.sleep(0.3)
            service.process.terminate()
            while service.listens():
                time.sleep(0.02)
            answers = [each.finish() for each in callers]

            assert {each.split(" ", 2)[1] for each in answers} == {"200"}
            assert all("connection: close" in each for each in answers)
            assert service.ended(SLACK_SECONDS) == 0

    def test_answers_who_has_connected_and_is_about_to_ask(self) -> None:
        with served(0.5) as service:
            service.process.terminate()
            connections = []
            while service.listens():
                connections.append(socket.create_connection(("127.0.0.1", service.port), timeout=5))
                time.sleep(0.05)
                connections[-1].sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            answers = [each.recv(65536)[:12] for each in connections]
            for each in connections:
                each.close()

        assert set(answers) == {b"HTTP/1.1 200"}

    def test_does_not_wait_for_ever_for_a_body(self) -> None:
        with served() as service:
            caller = Caller(service)
            time.sleep(0.3)
            service.process.terminate()

            assert service.ended(GRACE_SECONDS + SLACK_SECONDS) == 0
            assert " 200 " not in caller.read()[:20]
