"""Bodies that nobody sends by mistake, over a real socket: refused in order, quickly, and without holding up others."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.ml_service.serving.calling import OWNER
from tests.ml_service.serving.forest import grow
from tests.ml_service.serving.publishing import publish, served
from tests.ml_service.serving.service_process import ServiceProcess, scene

ONE, MANY = "/predict/churn", "/predict/churn/batch"
BODY_SECONDS, IN_FLIGHT = 1.5, 20
AT_ONCE_SECONDS, HELD_UP_SECONDS, QUICK_SECONDS = 0.1, 0.25, 3.0
MEGABYTE = 1_000_000

Body = bytes


@pytest.fixture(scope="module")
def service(
    environment: dict[str, str], demos: object, demo_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("payloads")
    settings = {"REQUEST_BODY_SECONDS": str(BODY_SECONDS), "REQUESTS_IN_FLIGHT": str(IN_FLIGHT)}
    with scene(environment, folder, demo_folder) as place, place.service(**settings) as process:
        grow(folder, trees=5)
        place.control.change(active=[served(publish(place.store, folder))])
        process.await_version(1)
        yield process
        assert process.faults() == []


@pytest.fixture(scope="module")
def row(service: ServiceProcess) -> dict[str, Any]:
    """What the model takes."""
    found: dict[str, Any] = httpx2.get(f"{service.url}/models/churn", headers=OWNER).json()
    return {each["name"]: each["example"] for each in found["contract"]["fields"]}


class Heart(threading.Thread):
    """Asks whether the service is alive, again and again, and keeps the longest time that took."""

    def __init__(self, service: ServiceProcess) -> None:
        super().__init__()
        self._url, self._is_over = f"{service.url}/health", threading.Event()
        self.longest = 0.0

    def run(self) -> None:
        with httpx2.Client(timeout=30) as http:
            while not self._is_over.is_set():
                began = time.perf_counter()
                http.get(self._url)
                self.longest = max(self.longest, time.perf_counter() - began)
                time.sleep(0.005)

    def __enter__(self) -> "Heart":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join()


@pytest.fixture(scope="module")
def slack(service: ServiceProcess) -> float:
    """What this machine adds to every time while nothing is asked."""
    with Heart(service) as heart:
        time.sleep(1)
    return heart.longest


class Line:
    """A request that a test writes itself."""

    def __init__(self, service: ServiceProcess, path: str, *headers: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", service.port), timeout=20)
        own = ("Host: x", "Authorization: Bearer owner", "Content-Type: application/json", *headers)
        self.send(
            f"POST {path} HTTP/1.1\r\n".encode() + "".join(f"{each}\r\n" for each in own).encode() + b"\r\n"
        )

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def status(self) -> int:
        with self._socket:
            return int(self._socket.recv(65536)[9:12])

    def has_answer(self) -> bool:
        self._socket.setblocking(False)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            self._socket.settimeout(20)


def body(content: Any) -> Body:
    return json.dumps(content).encode()


def single(cells: dict[str, Any]) -> Body:
    return body({"input_data": cells})


TWICE = [b'"a%d":1,"a%d":2' % (each, each) for each in range(50_000)]
ABUSE: dict[str, tuple[str, Body, int, str]] = {
    "a million rows": (MANY, b'{"inputs":[' + b",".join([b"{}"] * MEGABYTE) + b"]}", 422, "too_long"),
    "ten thousand empty rows": (MANY, body({"inputs": [{}] * 10_000}), 422, "missing_field"),
    "ten thousand rows of lists": (MANY, body({"inputs": [{"age": []}] * 10_000}), 422, "wrong_type"),
    "depth": (ONE, b'{"input_data":' + b"[" * 10_000 + b"]" * 10_000 + b"}", 422, "malformed"),
    "depth of objects": (ONE, b'{"input_data":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}", 422, "malformed"),
    "depth without an end": (ONE, b"[" * MEGABYTE, 422, "too_long"),
    "many short lists": (MANY, b'{"inputs":[' + b",".join([b"[[],[]]"] * MEGABYTE) + b"]}", 422, "too_long"),
    "nothing": (ONE, b"", 400, ""),
    "null": (ONE, b"null", 422, "wrong_type"),
    "half a body": (ONE, b'{"input_data": {"age": 3', 400, ""),
    "bytes that are no text": (ONE, b'{"input_data": {"city": "\xff\xfe"}}', 400, ""),
    "half a character": (ONE, b'{"input_data": {"city": "\\ud800", "\\ud800": 1}}', 422, "unknown_field"),
    "a number of a million digits": (ONE, b'{"input_data": {"age": ' + b"1" * MEGABYTE + b"}}", 422, "not_finite"),
    "so many beside a text": (ONE, b'{"input_data": {"city":"\\n","age":' + b"1" * MEGABYTE + b"}}", 422, "not_finite"),
    "an exponent without end": (ONE, b'{"input_data": {"age": 1e' + b"9" * 100_000 + b"}}", 422, "not_finite"),
    "unknown fields": (ONE, single({f"unknown{each}": 1 for each in range(100_000)}), 422, "unknown_field"),
    "a long name": (ONE, single({"k" * MEGABYTE: 1}), 422, "unknown_field"),
    "fields that are there twice": (ONE, b'{"input_data":{' + b'"age":1,' * 100_000 + b'"a":1}}', 422, "duplicate_key"),
    "many that are there twice": (ONE, b'{"input_data":{' + b",".join(TWICE) + b"}}", 422, "unknown_field"),
    "unknown options": (ONE, body({f"option{each}": 1 for each in range(100_000)}), 422, "unknown_field"),
    "a row of 30 MB": (ONE, single({"city": "x" * 30 * MEGABYTE}), 413, ""),
}  # fmt: skip


class TestAbuse:
    @pytest.mark.parametrize("name", ABUSE)
    def test_is_refused_in_order_and_holds_nobody_up(
        self, service: ServiceProcess, slack: float, name: str
    ) -> None:
        path, content, status, code = ABUSE[name]
        headers = {**OWNER, "Content-Type": "application/json"}
        with Heart(service) as heart:
            began = time.perf_counter()
            answer = httpx2.post(f"{service.url}{path}", content=content, headers=headers, timeout=60)
            seconds = time.perf_counter() - began

        print(f"{name}: {seconds * 1000:.0f} ms, others waited {heart.longest * 1000:.0f} ms at most")
        problem = answer.json()
        assert (answer.status_code, problem["status"]) == (status, status)
        assert not code or code in {each["code"] for each in problem["errors"]}
        assert len(answer.content) < MEGABYTE
        assert heart.longest < HELD_UP_SECONDS + 2 * slack
        assert seconds < QUICK_SECONDS + 10 * slack

    @pytest.mark.parametrize("category", ["Bon", "Bon" * 3400], ids=["similar", "of 10 kB"])
    def test_by_unknown_categories_is_answered_with_warnings(
        self, service: ServiceProcess, row: dict[str, Any], slack: float, category: str
    ) -> None:
        rows = [{**row, "city": f"{category}{each}"} for each in range(1000)]
        with Heart(service) as heart:
            answer = httpx2.post(f"{service.url}{MANY}", json={"inputs": rows}, headers=OWNER, timeout=60)

        assert answer.status_code == 200
        assert len(answer.json()["metadata"]["warnings"]) == 1000
        assert heart.longest < HELD_UP_SECONDS + 2 * slack

    @pytest.mark.parametrize(
        "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
    )
    def test_by_another_media_type_is_named(
        self, service: ServiceProcess, row: dict[str, Any], media_type: str
    ) -> None:
        headers = {**OWNER, "Content-Type": media_type}
        answer = httpx2.post(f"{service.url}{ONE}", content=single(row), headers=headers)

        assert (answer.status_code, answer.json()["code"]) == (415, "not_json")

    def test_by_texts_for_numbers_names_each(self, service: ServiceProcess, row: dict[str, Any]) -> None:
        wrong = {**row, "age": "30", "income": "a lot"}
        answer = httpx2.post(f"{service.url}{ONE}", json={"input_data": wrong}, headers=OWNER)

        assert answer.status_code == 422
        found = [(each["field"], each["code"]) for each in answer.json()["errors"]]
        assert found == [("age", "wrong_type"), ("income", "wrong_type")]

    def test_by_a_mark_of_the_byte_order_is_none(self, service: ServiceProcess, row: dict[str, Any]) -> None:
        headers = {**OWNER, "Content-Type": "application/json"}
        answer = httpx2.post(f"{service.url}{ONE}", content=b"\xef\xbb\xbf" + single(row), headers=headers)

        assert answer.status_code == 200


class TestLargeBodies:
    @pytest.mark.parametrize("path", [ONE, MANY])
    def test_that_say_so_are_refused_before_they_are_sent(
        self, service: ServiceProcess, slack: float, path: str
    ) -> None:
        line = Line(service, path, "Content-Length: 10000000000")
        began = time.perf_counter()

        assert line.status() == 413
        assert time.perf_counter() - began < AT_ONCE_SECONDS + 2 * slack

    def test_without_an_end_are_refused_when_they_pass_the_limit(
        self, service: ServiceProcess, slack: float
    ) -> None:
        line, piece = Line(service, ONE, "Transfer-Encoding: chunked"), b"10000\r\n" + b" " * 65536 + b"\r\n"
        for _ in range(64):  # 4 MiB, which is all that a row may take
            line.send(piece)
        time.sleep(0.2)
        assert not line.has_answer()
        began = time.perf_counter()
        line.send(piece)

        assert line.status() == 413
        assert time.perf_counter() - began < AT_ONCE_SECONDS + 2 * slack


class TestSlowBodies:
    def test_are_not_waited_for(self, service: ServiceProcess) -> None:
        line = Line(service, ONE, "Content-Length: 100")
        line.send(b'{"input_data"')

        assert line.status() == 408

    def test_that_break_off_leave_nothing_behind(self, service: ServiceProcess) -> None:
        for _ in range(IN_FLIGHT * 2):
            line = Line(service, ONE, "Content-Length: 100")
            line.send(b'{"input_data"')
            line._socket.close()

        assert httpx2.post(f"{service.url}{ONE}", json={}, headers=OWNER).status_code == 422

    def test_fill_the_gate_until_their_time_is_over(
        self, service: ServiceProcess, row: dict[str, Any], slack: float
    ) -> None:
        lines = [Line(service, ONE, "Content-Length: 100") for _ in range(IN_FLIGHT)]
        time.sleep(0.3)
        began = time.perf_counter()
        refused = httpx2.post(f"{service.url}{ONE}", json={"input_data": row}, headers=OWNER)
        seconds = time.perf_counter() - began
        statuses = {each.status() for each in lines}
        after = httpx2.post(f"{service.url}{ONE}", json={"input_data": row}, headers=OWNER)

        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["content-type"] == "application/problem+json"
        assert seconds < 2 * AT_ONCE_SECONDS + 2 * slack
        assert statuses == {408}
        assert after.status_code == 200
