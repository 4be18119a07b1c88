"""Who says what to browsers: the services of their own answers, nginx of its own, and nobody twice."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI, Request

from tests.nginx.front_door import FrontDoor, front_door
from tests.platform_kit.plumbing.sample import service

pytestmark = pytest.mark.needs("nginx")

OURS = (
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "permissions-policy",
    "cross-origin-opener-policy",
    "content-security-policy",
    "x-request-id",
)
NOTHING = "default-src 'none'; frame-ancestors 'none'"


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, proxy_headers=False))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    app = service(trusted_proxies=(ip_network("127.0.0.0/8"),))

    @app.get("/models/caller")
    async def who_it_is(request: Request) -> dict[str, str]:
        assert request.client is not None
        return {"address": request.client.host, "scheme": request.url.scheme}

    folder = tmp_path_factory.mktemp("nginx")
    with running(app) as url, front_door(folder, api_url=url, ml_url=url) as door:
        yield door


@pytest.fixture(scope="module")
def broken_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    """Nobody is behind it."""
    nowhere = "http://127.0.0.1:9"
    with front_door(tmp_path_factory.mktemp("nginx"), api_url=nowhere, ml_url=nowhere) as door:
        yield door


def counts(answer: httpx2.Response) -> dict[str, int]:
    names = [name.decode().lower() for name, _ in answer.headers.raw]
    return {name: names.count(name) for name in OURS}


class TestHeaders:
    @pytest.mark.parametrize("prefix", ["", "/ml"])
    @pytest.mark.parametrize(
        "path", ["/health", "/docs", "/redoc", "/openapi.json", "/docs/assets/swagger-ui.css"]
    )
    def test_of_the_services_are_passed_on_once(self, door: FrontDoor, prefix: str, path: str) -> None:
        answer = httpx2.get(door.web_url + prefix + path)

        assert answer.status_code == 200
        assert counts(answer) == dict.fromkeys(OURS, 1)

    @pytest.mark.parametrize("path", ["/docs", "/ml/docs"])
    def test_of_the_pages_are_the_services(self, door: FrontDoor, path: str) -> None:
        policy = httpx2.get(door.web_url + path).headers["content-security-policy"]

        script = policy.partition("script-src ")[2].partition(";")[0]
        assert "'sha256-" in script
        assert "unsafe" not in script

    @pytest.mark.parametrize(
        ("path", "status"),
        [("/", 200), ("/nothing.html", 404), ("/README.md", 404), ("/ml/nothing", 404), ("/ml", 302)],
    )
    def test_of_nginx_are_on_its_own_answers_once(self, door: FrontDoor, path: str, status: int) -> None:
        answer = httpx2.get(door.web_url + path, follow_redirects=False)

        found = counts(answer)
        del found["x-request-id"]
        assert answer.status_code == status
        assert found == dict.fromkeys(found, 1)

    @pytest.mark.parametrize("path", ["/api/v1/projects", "/docs", "/ml/predict/x"])
    def test_of_nginx_are_on_its_word_that_a_service_is_away(self, broken_door: FrontDoor, path: str) -> None:
        answer = httpx2.get(broken_door.web_url + path)

        assert answer.status_code == 503
        assert counts(answer) == dict.fromkeys(OURS, 1)
        assert answer.headers["content-security-policy"] == NOTHING


class TestCaller:
    def test_is_who_reached_nginx_whatever_they_say(self, door: FrontDoor) -> None:
        forged = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Real-IP": "6.6.6.6"}

        found = httpx2.get(f"{door.ml_url}/models/caller", headers=forged)

        assert found.json() == {"address": "127.0.0.1", "scheme": "http"}
