import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compose.environment import Environment
from compose.status import Container, Row, answer, judge, published_on, service_rows, sick, table


def container(**told: Any) -> Container:
    known = {"Service": "relay", "Name": "mlp-relay-1", "State": "running", "Status": "Up 2 hours"}
    return Container.of({**known, **told})


@pytest.mark.parametrize(
    ("told", "well", "said"),
    [
        ({"Health": "healthy"}, True, "Up 2 hours"),
        ({"Health": ""}, True, "Up 2 hours"),
        ({"Health": "unhealthy"}, False, "unhealthy"),
        ({"Health": "starting"}, False, "starting"),
        ({"State": "paused", "Health": "healthy"}, False, "paused"),
        ({"State": "restarting"}, False, "restarting"),
        ({"State": "exited", "ExitCode": 137, "Status": "Exited (137) 1 hour ago"}, False, "Exited (137) 1 hour ago"),
        ({"State": "exited", "ExitCode": 0, "Status": "Exited (0) 1 hour ago"}, False, "Exited (0) 1 hour ago"),
    ],
)  # fmt: skip
def test_a_service_is_well_when_it_runs_and_its_check_holds(
    told: dict[str, Any], well: bool, said: str
) -> None:
    assert judge(container(**told), once=False) == (well, said)


@pytest.mark.parametrize(
    ("told", "well"),
    [
        ({"State": "exited", "ExitCode": 0}, True),
        ({"State": "exited", "ExitCode": 1}, False),
        ({"State": "running"}, False),
    ],
)
def test_a_one_shot_is_well_when_it_has_ended_well(told: dict[str, Any], well: bool) -> None:
    assert judge(container(**told), once=True)[0] is well


class Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ready = self.path == "/well"
        checks = {
            "postgres": {"ok": ready, "detail": "no answer within 2 s"},
            "broker": {"ok": True, "detail": ""},
        }
        self.send_response(200 if ready else 503)
        self.end_headers()
        self.wfile.write(json.dumps({"checks": checks}).encode())

    def log_message(self, *_: object) -> None:
        return None


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


class TestDoor:
    def test_that_answers_is_well(self, port: int) -> None:
        assert answer("127.0.0.1", port, "/well") == (True, "answers 200")

    def test_that_is_not_ready_says_what_is_missing(self, port: int) -> None:
        assert answer("127.0.0.1", port, "/health/ready") == (
            False,
            "answers 503 (postgres: no answer within 2 s)",
        )

    def test_where_nothing_listens_is_not_well(self, port: int) -> None:
        well, said = answer("127.0.0.1", 1, "/")

        assert not well
        assert "does not answer" in said


def test_the_table_marks_who_is_sick_and_names_each_once() -> None:
    rows = [
        Row("relay", "mlp-relay-1", True, "Up"),
        *[Row("ml-service", f"mlp-ml-service-{n}", False, "paused") for n in (1, 2)],
    ]

    shown = table(rows).splitlines()

    assert [line[0] for line in shown[1:]] == ["✓", "✗", "✗"]
    assert sick(rows) == ["ml-service"]


def test_a_service_without_a_container_is_not_there() -> None:
    assert service_rows("relay", [], {}) == [Row("relay", "-", False, "is not there")]


def test_a_replica_that_is_missing_is_counted() -> None:
    service = {"deploy": {"replicas": 3}}

    rows = service_rows("relay", [container(Health="healthy")], service)

    assert [(row.well, row.said) for row in rows] == [(True, "Up 2 hours"), (False, "1 of 3 are there")]


@pytest.mark.parametrize(
    ("address", "asked"),
    [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("10.1.2.3", "10.1.2.3"), ("127.0.0.1", "127.0.0.1")],
)
def test_the_front_door_is_asked_where_it_is_published(tmp_path: Path, address: str, asked: str) -> None:
    (tmp_path / ".env").write_text(f"BIND_ADDRESS={address}\n")

    assert published_on(Environment(tmp_path / ".env", shell={})) == asked
