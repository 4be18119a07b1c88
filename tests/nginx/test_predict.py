"""Predictions on their way through nginx: small ones survive the end of a replica, large ones are not kept."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
from fastapi import FastAPI, Request

from tests.nginx.front_door import FrontDoor, front_door
from tests.nginx.test_headers import running
from tests.platform_kit.plumbing.sample import service

pytestmark = pytest.mark.needs("nginx")

PATHS = ["/ml/predict/churn", "/ml/predict/churn/batch", "/ml/predict/churn/versions/2"]
SMALL, LARGE = 20_000, 3_000_000


def echoing() -> FastAPI:
    app = service()

    @app.post("/predict/{rest:path}")
    async def predict(rest: str, request: Request) -> dict[str, object]:
        return {"asked": rest, "bytes": len(await request.body()), "prefix": request.scope["root_path"]}

    return app


@contextmanager
def hanging_up() -> Iterator[str]:
    """A replica that ends under each request, when it has read all of it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1_000_000)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    folder = tmp_path_factory.mktemp("nginx")
    with running(echoing()) as url, front_door(folder, api_url=url, ml_url=url) as door:
        yield door


@pytest.fixture(scope="module")
def shaky_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    """One of its two replicas ends under each request."""
    folder = tmp_path_factory.mktemp("nginx")
    with (
        running(echoing()) as url,
        hanging_up() as gone,
        front_door(folder, api_url=url, ml_url=url, replicas=[gone, url]) as door,
    ):
        yield door


class TestPredictions:
    @pytest.mark.parametrize("size", [0, SMALL, 99_999, 100_000, LARGE])
    @pytest.mark.parametrize("path", PATHS)
    def test_arrive_whole_under_their_own_address(self, door: FrontDoor, path: str, size: int) -> None:
        for url, prefix in ((door.web_url + path, "/ml"), (door.ml_url + path.removeprefix("/ml"), "")):
            found = httpx2.post(url, content=b"x" * size).json()

            asked = path.removeprefix("/ml/predict/")
            assert found == {"asked": asked, "bytes": size, "prefix": prefix}

    def test_arrive_whole_without_a_length(self, door: FrontDoor) -> None:
        pieces = (b"x" * 1000 for _ in range(300))

        assert httpx2.post(f"{door.web_url}/ml/predict/churn", content=pieces).json()["bytes"] == 300_000

    @pytest.mark.parametrize("path", PATHS)
    def test_are_asked_elsewhere_when_a_replica_ends(self, shaky_door: FrontDoor, path: str) -> None:
        answers = [
            httpx2.post(f"{shaky_door.web_url}{path}", content=b"x" * SMALL, timeout=10) for _ in range(6)
        ]

        assert [(each.status_code, each.json()["bytes"]) for each in answers] == [(200, SMALL)] * 6

    def test_that_are_large_are_asked_once(self, shaky_door: FrontDoor) -> None:
        url = f"{shaky_door.ml_url}/predict/churn/batch"
        statuses = {httpx2.post(url, content=b"x" * LARGE, timeout=10).status_code for _ in range(6)}

        assert statuses == {200, 502}

    def test_that_are_too_large_are_refused_before_they_are_sent(self, door: FrontDoor) -> None:
        head = b"POST /ml/predict/churn HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000\r\n\r\n"
        port = int(door.web_url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(head)
            answer = connection.recv(65536).decode()

        assert answer.split(" ", 2)[1] == "413"
        assert json.loads(answer.rpartition("\r\n\r\n")[2])["code"] == "too_large"

    def test_that_are_large_arrive_while_they_are_sent(
        self, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        head = b"POST /predict/churn/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
        with socket.create_server(("127.0.0.1", 0)) as replica:
            url = f"http://127.0.0.1:{replica.getsockname()[1]}"
            replica.settimeout(10)
            with front_door(tmp_path_factory.mktemp("nginx"), api_url=url, ml_url=url) as door:
                port = int(door.ml_url.rpartition(":")[2])
                with socket.create_connection(("127.0.0.1", port), timeout=10) as caller:
                    caller.sendall(head + b"x" * 10_000)
                    connection, _ = replica.accept()
                    with connection:
                        connection.settimeout(10)
                        assert connection.recv(65536).startswith(b"POST /predict/churn/batch")
