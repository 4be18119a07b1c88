"""Both services in this process, each on a port and in a thread of its own, on real servers."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from api_server.cli import main as command_line
from api_server.main import create_app as create_api
from api_server.settings import Settings as ApiSettings
from ml_service.app import create_app as create_ml
from ml_service.settings import Settings as MlSettings
from tests.servers import servers_environment

START_SECONDS = 90
UNLIMITED = "1000000/minute"
SETTINGS = {
    "ACCESS_TOKEN_SECONDS": "3600",
    "AUTH_TIMEOUT_SECONDS": "5",
    "DEPLOY_WAIT_SECONDS": "10",
    "PREDICT_RATE_LIMIT_ADDRESS": UNLIMITED,
    "PREDICT_RATE_LIMIT_PRINCIPAL": UNLIMITED,
    "RATE_LIMIT_ADDRESS": UNLIMITED,
    "RATE_LIMIT_PRINCIPAL": UNLIMITED,
    "PASSWORD_RESET_LIMIT": UNLIMITED,
    "REGISTRATION_LIMIT": UNLIMITED,
    "SYNC_INTERVAL_SECONDS": "0.05",
    "AUDIT_REFUSALS_PER_MINUTE": "100000",
}


@dataclass(frozen=True)
class Services:
    """The applications, and where they answer. demo_folder: models that were trained for real."""

    settings: ApiSettings
    demo_folder: Path
    api: FastAPI
    ml: FastAPI
    api_url: str
    ml_url: str


@contextmanager
def running_services(folder: Path) -> Iterator[Services]:
    with servers_environment(folder / "servers") as environment:
        api_socket, ml_socket = _bound(), _bound()
        api_url, ml_url = (f"http://127.0.0.1:{each.getsockname()[1]}" for each in (api_socket, ml_socket))
        addresses = {"API_INTERNAL_URL": api_url, "ML_INTERNAL_URL": ml_url}
        folders = {"ML_CACHE_DIR": str(folder / "cache"), "WORKER_SCRATCH_DIR": str(folder / "scratch")}
        api_settings, ml_settings = _prepared({**environment, **SETTINGS, **addresses, **folders})
        api, ml = create_api(api_settings), create_ml(ml_settings)
        with _answering(api, api_socket), _answering(ml, ml_socket):
            yield Services(api_settings, folder / "cache" / "demo", api, ml, api_url, ml_url)


def _prepared(environment: dict[str, str]) -> tuple[ApiSettings, MlSettings]:
    """With tables and a bucket. The environment itself is left as it was: other tests have their own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for command in ("migrate", "prepare-storage"):
            patch.setattr("sys.argv", ["cli", command])
            command_line()
        return ApiSettings.from_environment(), MlSettings.from_environment()


def _bound() -> socket.socket:
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound


@contextmanager
def _answering(app: FastAPI, bound: socket.socket) -> Iterator[None]:
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        assert thread.is_alive(), "it did not start"
        assert time.monotonic() < deadline, "it took too long to start"
        time.sleep(0.02)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(20)
