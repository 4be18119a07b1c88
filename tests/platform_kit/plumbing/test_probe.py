import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest


class Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # the probe does not wait for the end
                for _ in range(10):
                    self.wfile.write(b".")
                    self.wfile.flush()
                    time.sleep(0.5)
            return
        self.send_response(200 if self.path == "/health/ready?deep=1" else 503)
        self.end_headers()
        self.wfile.write(b"postgres:\nConnectionError")

    def log_message(self, *_: object) -> None:
        """A test's output is for its findings."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def probe(*arguments: str) -> tuple[int, str]:
    ran = subprocess.run(
        [sys.executable, "-m", "platform_kit.plumbing.probe", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ran.stderr
    return ran.returncode, ran.stdout + ran.stderr


class TestOfAService:
    def test_says_yes_to_a_good_answer(self, url: str) -> None:
        assert probe(f"{url}/health/ready?deep=1") == (0, "")

    def test_says_in_one_line_what_a_bad_answer_was(self, url: str) -> None:
        assert probe(f"{url}/health") == (1, f"{url}/health answered 503: postgres: ConnectionError\n")

    def test_says_in_one_line_that_nobody_answers(self) -> None:
        code, said = probe("http://127.0.0.1:1/health")

        assert (code, said.count("\n")) == (1, 1)
        assert "refused" in said

    def test_does_not_wait_for_a_slow_answer(self, url: str) -> None:
        started = time.monotonic()

        code, said = probe(f"{url}/slow")

        assert code == 1
        assert "no answer within 3 s" in said
        assert time.monotonic() - started < 4.5


class TestOfAFile:
    def test_says_yes_while_it_is_young(self, tmp_path: Path) -> None:
        alive = tmp_path / "alive"
        alive.touch()
        assert probe(str(alive), "30") == (0, "")

        os.utime(alive, (time.time() - 40, time.time() - 40))

        assert probe(str(alive), "30") == (1, f"{alive} was last touched 40 s ago, more than 30 s\n")

    def test_says_that_there_is_none(self, tmp_path: Path) -> None:
        assert probe(str(tmp_path / "alive"), "30") == (
            1,
            f"{tmp_path / 'alive'}: No such file or directory\n",
        )


class TestUse:
    @pytest.mark.parametrize("arguments", [(), ("https://a",), ("/tmp/alive", "soon"), ("a", "1", "2")])
    def test_that_is_wrong_is_told(self, arguments: tuple[str, ...]) -> None:
        code, said = probe(*arguments)

        assert code == 1
        assert said.startswith("usage: ")

    def test_loads_little(self) -> None:
        """It is started every few seconds in each container."""
        script = "import sys, platform_kit.plumbing.probe; print(len(sys.modules), 'urllib.request' in sys.modules)"
        ran = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=False,
                             env={**os.environ, "PYTHONPATH": "platform-kit/src"})  # fmt: skip

        count, has_urllib = ran.stdout.split()
        assert int(count) < 150
        assert has_urllib == "False"
