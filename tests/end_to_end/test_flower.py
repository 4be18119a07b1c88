"""Flower, which shows the workers: behind its password, with the queues that each serves."""

import socket
import time

import httpx2
import pytest

from embedded.layout import Layout, read_json
from embedded.services import FLOWER_USER
from platform_kit.contract.jobs import Queue
from tests.end_to_end.stack import Stack


@pytest.fixture
def flower(stack: Stack) -> str:
    """Nobody waits for it when the platform starts."""
    url = f"http://127.0.0.1:{read_json(Layout(stack.data_dir).run / 'ports.json')['flower']}"
    deadline = time.monotonic() + 30
    while True:
        try:
            assert httpx2.get(f"{url}/healthcheck").is_success
        except httpx2.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return url


def test_is_nobodys_without_the_password(flower: str) -> None:
    for path in ("/", "/workers", "/api/workers", "/api/tasks", "/broker"):
        assert httpx2.get(f"{flower}{path}").status_code == 401, path
        assert httpx2.get(f"{flower}{path}", auth=(FLOWER_USER, "a guess")).status_code == 401, path


def test_shows_which_worker_serves_which_queue(stack: Stack, flower: str) -> None:
    password = read_json(Layout(stack.data_dir).secrets)["flower"]
    serves: dict[str, set[str]] = {}
    deadline = time.monotonic() + 30
    while len(serves) < len(Queue) and time.monotonic() < deadline:
        answer = httpx2.get(
            f"{flower}/api/workers", params={"refresh": 1}, auth=(FLOWER_USER, password), timeout=30
        )
        assert answer.status_code == 200, answer.text
        serves = {
            name: {each["name"] for each in worker["active_queues"]}
            for name, worker in answer.json().items()
            if worker.get("active_queues")
        }

    assert serves == {f"{queue}@{socket.gethostname()}": {str(queue)} for queue in Queue}
