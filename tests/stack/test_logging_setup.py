"""`monitoring/logging/setup.py` as a process.

Neither Elasticsearch nor Kibana can be had here. A small server of this file answers for both the few calls that are
made, by what their documentation and code say, and records them: what is tested is the order, the patience and the
words of our side, not theirs.
"""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SETUP = Path(__file__).parents[2] / "monitoring" / "logging" / "setup.py"
ELASTIC_PASSWORD = "of elastic: $ecret"
KIBANA_PASSWORD = "of kibana_system: s3cret"

HEALTH = "GET /_cluster/health?wait_for_status=yellow&timeout=5s"
PASSWORD = "POST /_security/user/kibana_system/_password"
POLICY = "PUT /_ilm/policy/mlp-logs"
TEMPLATE = "PUT /_component_template/logs@custom"
STATUS = "GET /api/status"
DATA_VIEW = "POST /api/data_views/data_view"
IN_ORDER = [HEALTH, PASSWORD, POLICY, TEMPLATE, STATUS, DATA_VIEW]


@dataclass
class Stack:
    """Elasticsearch and Kibana behind one port: what they hold, and what they were asked."""

    url: str = ""
    elastic_password: str = ELASTIC_PASSWORD
    not_yet: dict[str, int] = field(default_factory=dict)
    """So many times 503 for a call, before its answer."""
    refused: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Calls that are answered with 400 and this body."""
    asked: list[str] = field(default_factory=list)
    held: dict[str, Any] = field(default_factory=dict)

    def answer(self, call: str, body: Any, headers: Any) -> tuple[int, dict[str, Any]]:
        self.asked.append(call)
        if self.not_yet.get(call, 0) > 0:
            self.not_yet[call] -= 1
            return 503, {"message": "not ready yet"}
        if headers["Authorization"] != basic("elastic", self.elastic_password):
            return 401, {"error": {"reason": "unable to authenticate user [elastic]"}, "status": 401}
        if call in self.refused:
            return 400, self.refused[call]
        if call == STATUS and PASSWORD not in self.held:
            return 503, {"message": "Kibana cannot log in to Elasticsearch"}
        if call == DATA_VIEW:
            return self._store_data_view(body, headers)
        if body is not None:
            self.held[call] = body
        return 200, {"acknowledged": True}

    def _store_data_view(self, body: Any, headers: Any) -> tuple[int, dict[str, Any]]:
        if "kbn-xsrf" not in headers:
            return 400, {"message": "Request must contain a kbn-xsrf header."}
        if DATA_VIEW in self.held and not body["override"]:
            return 400, {"message": "Duplicate data view"}
        self.held[DATA_VIEW] = body["data_view"]
        return 200, body


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@contextmanager
def served(stack: Stack) -> Iterator[Stack]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = stack.answer(f"{self.command} {self.path}", body, self.headers)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        stack.url = f"http://127.0.0.1:{server.server_port}"
        yield stack
        server.shutdown()


@pytest.fixture
def stack() -> Iterator[Stack]:
    with served(Stack()) as running:
        yield running


def set_up(url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script to its end. Whatever happens, it tells nobody a password."""
    settings = {
        "PATH": os.environ["PATH"],
        "ELASTICSEARCH_URL": url,
        "KIBANA_URL": url,
        "ELASTIC_PASSWORD": ELASTIC_PASSWORD,
        "KIBANA_PASSWORD": KIBANA_PASSWORD,
        "SETUP_PATIENCE_SECONDS": "1",
        "http_proxy": "http://127.0.0.1:9",  # nobody there: the servers are asked directly
    }
    done = subprocess.run(
        [sys.executable, str(SETUP)],
        env={**settings, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    for password in (ELASTIC_PASSWORD, KIBANA_PASSWORD):
        assert password not in done.stdout + done.stderr
    return done


def test_everything_is_prepared_in_the_order_in_which_it_is_needed(stack: Stack) -> None:
    done = set_up(stack.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert stack.asked == IN_ORDER
    assert done.stdout.splitlines() == [
        "Elasticsearch answers.",
        "The user kibana_system has its password.",
        "The policy mlp-logs begins a new index each day or gigabyte, and deletes the old one 7 days later.",
        "The component template logs@custom puts new indices of logs under the policy mlp-logs, without replicas.",
        "Kibana answers.",
        "The data view mlp-logs shows logs-mlp.*.",
    ]


def test_what_is_stored_is_what_the_logs_need(stack: Stack) -> None:
    set_up(stack.url, LOG_RETENTION_DAYS="30")

    phases = stack.held[POLICY]["policy"]["phases"]
    settings = stack.held[TEMPLATE]["template"]["settings"]["index"]
    assert stack.held[PASSWORD] == {"password": KIBANA_PASSWORD}
    assert phases["hot"]["actions"]["rollover"] == {"max_age": "1d", "max_primary_shard_size": "1gb"}
    assert phases["delete"] == {"min_age": "30d", "actions": {"delete": {}}}
    assert settings == {"number_of_replicas": 0, "lifecycle": {"name": "mlp-logs"}}
    assert stack.held[DATA_VIEW]["id"] == "mlp-logs"
    assert stack.held[DATA_VIEW]["title"] == "logs-mlp.*"
    assert stack.held[DATA_VIEW]["timeFieldName"] == "@timestamp"


def test_a_second_run_does_the_same_again(stack: Stack) -> None:
    first = set_up(stack.url)
    held = dict(stack.held)
    second = set_up(stack.url)

    assert (second.returncode, second.stdout) == (0, first.stdout)
    assert stack.held == held
    assert stack.asked == [*IN_ORDER, *IN_ORDER]


@pytest.mark.parametrize("call", IN_ORDER)
def test_it_waits_for_a_server_that_is_not_ready(stack: Stack, call: str) -> None:
    stack.not_yet[call] = 3

    done = set_up(stack.url, SETUP_PATIENCE_SECONDS="4")

    assert done.returncode == 0, done.stderr
    assert stack.asked.count(call) == 4
    assert [each for number, each in enumerate(stack.asked) if each not in stack.asked[:number]] == IN_ORDER


def test_it_waits_for_a_server_that_does_not_listen_yet() -> None:
    with served(Stack()) as gone:
        url = gone.url

    done = set_up(url)

    assert done.returncode == 1
    assert done.stdout == ""
    assert f"Elasticsearch at {url} is not ready after 1 seconds" in done.stderr
    assert "docker compose logs elasticsearch" in done.stderr


def test_a_kibana_that_does_not_come_up_is_named(stack: Stack) -> None:
    stack.not_yet[STATUS] = 1000

    done = set_up(stack.url)

    assert done.returncode == 1
    assert done.stderr.startswith(f"Kibana at {stack.url} is not ready after 1 seconds (503: not ready yet).")
    assert "docker compose logs kibana" in done.stderr
    assert DATA_VIEW not in stack.asked


def test_a_wrong_password_is_told_with_the_way_out(stack: Stack) -> None:
    stack.elastic_password = "another"

    done = set_up(stack.url)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "Elasticsearch refuses the password of the user elastic: ELASTIC_PASSWORD in .env is not the one that "
        "Elasticsearch was first started with. Put that one there, then start again: docker compose up logging-setup "
        "(it may run any number of times).\n"
    )
    assert set(stack.asked) == {HEALTH}


def test_a_password_that_was_right_all_along_is_asked_again(stack: Stack) -> None:
    """While Elasticsearch reads its users from disk it refuses everybody."""
    stack.elastic_password = "not read yet"
    threading.Timer(0.5, lambda: setattr(stack, "elastic_password", ELASTIC_PASSWORD)).start()

    assert set_up(stack.url, SETUP_PATIENCE_SECONDS="4").returncode == 0


def test_a_refusal_is_told_in_the_servers_words_without_the_password(stack: Stack) -> None:
    stack.refused[PASSWORD] = {"error": {"reason": f"[{KIBANA_PASSWORD}] is too weak"}, "status": 400}

    done = set_up(stack.url)

    assert done.returncode == 1
    assert (
        "Elasticsearch refused to set the password of kibana_system (400: [(KIBANA_PASSWORD)] is too weak)"
        in (done.stderr)
    )
    assert stack.asked == [HEALTH, PASSWORD]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("ELASTIC_PASSWORD", "", "ELASTIC_PASSWORD is not set"),
        ("KIBANA_PASSWORD", "", "KIBANA_PASSWORD is not set"),
        ("LOG_RETENTION_DAYS", "0", "LOG_RETENTION_DAYS is '0', which is not a whole number above 0"),
        (
            "SETUP_PATIENCE_SECONDS",
            "long",
            "SETUP_PATIENCE_SECONDS is 'long', which is not a whole number above 0",
        ),
    ],
)
def test_a_wrong_setting_is_told_before_anybody_is_asked(
    stack: Stack, name: str, value: str, sentence: str
) -> None:
    done = set_up(stack.url, **{name: value})

    assert done.returncode == 1
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert stack.asked == []
