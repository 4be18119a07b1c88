"""A Compose platform of its own for the tests: a project, ports, an .env and volumes that nobody else has."""

import json
import os
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx2

REPOSITORY = Path(__file__).parents[2]
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "30"))
STARTING_SECONDS = 600
PORTS = re.findall(r"^([A-Z0-9_]+_PORT)=", (REPOSITORY / ".env.example").read_text(), re.MULTILINE)

Ran = subprocess.CompletedProcess[str]


class Platform:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.project = f"mlp-test-{secrets.token_hex(4)}"
        self.env_file = directory / ".env"
        self.certificates = directory / "certs"
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self.started_with = ""
        """What `make up` printed."""

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['HTTP_PORT']}"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['API_PORT']}"

    @property
    def ml_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['ML_PORT']}"

    @property
    def prometheus_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['PROMETHEUS_PORT']}"

    @property
    def settings(self) -> dict[str, str]:
        """What the tests write into .env, below the secrets."""
        return {
            "COMPOSE_PROFILES": "core,monitoring",
            "BIND_ADDRESS": "127.0.0.1",
            "PUBLIC_API_URL": self.api_url,
            "PUBLIC_ML_URL": self.ml_url,
            "TLS_DIR": str(self.certificates),
            **{name: str(port) for name, port in self.ports.items()},
        }

    @cached_property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.endswith("_PORT")}
        return {**inherited, "COMPOSE_PROJECT_NAME": self.project, "YES": "1"}

    def write_environment(self) -> None:
        self.certificates.mkdir(exist_ok=True)
        assert self.make("dev-setup").returncode == 0
        lines = [f"{name}={value}" for name, value in self.settings.items()]
        kept = re.sub(r"^COMPOSE_PROFILES=.*\n", "", self.env_file.read_text(), flags=re.MULTILINE)
        self.env_file.write_text(kept + "\n".join(lines) + "\n")

    def secret(self, name: str) -> str:
        found = re.search(rf"^{name}=(.+)$", self.env_file.read_text(), re.MULTILINE)
        assert found, name
        return found[1]

    def make(self, target: str, env_file: Path | None = None, **variables: str) -> Ran:
        """A command of the README, as a person types it."""
        assignments = [f"{name}={value}" for name, value in variables.items()]
        return self._run(
            ["make", "-s", target, f"ENV_FILE={env_file or self.env_file}", *assignments], STARTING_SECONDS
        )

    def compose(self, *arguments: str, seconds: float = 120, code: int = 0) -> str:
        """A command of Docker Compose that must end with `code`; returns what it prints."""
        command = ["python3", "-m", "compose", "--env-file", str(self.env_file), "run", *arguments]
        ran = self._run(command, seconds)
        assert ran.returncode == code, ran.stdout
        return ran.stdout

    def run(self, *command: str, **variables: str) -> Ran:
        """Run a program of this repository against the platform."""
        addresses = {
            "MLP_BASE_URL": self.api_url,
            "MLP_ML_URL": self.ml_url,
            "API_URL": self.api_url,
            "ML_URL": self.ml_url,
            "WEB_URL": self.web_url,
            "PLATFORM_DATA_DIR": str(self.directory),
        }
        return self._run(list(command), 400, {**addresses, **variables})

    def docker(self, *arguments: str) -> str:
        ran = self._run(["docker", *arguments], 120)
        assert ran.returncode == 0, ran.stdout
        return ran.stdout

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """What the engine knows of each of our containers, of one service or of all."""
        ids = self.compose("ps", "--all", "--quiet", *([service] if service else [])).split()
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", *ids)) if ids else []
        return found

    def outage(self, *services: str, seconds: float = OUTAGE_SECONDS, during: Callable[[], None]) -> None:
        """Stop services for a while and start them again."""
        self.compose("stop", *services)
        stopped_at = time.monotonic()
        try:
            during()
            time.sleep(max(0.0, seconds - (time.monotonic() - stopped_at)))
        finally:
            self.compose("start", *services)

    def await_health(self, *, seconds: float = 90) -> float:
        """Wait until `make health` finds everything well; returns how long that took."""
        started = time.monotonic()
        while (ran := self.make("health")).returncode != 0:
            assert time.monotonic() - started < seconds, ran.stdout
            time.sleep(1)
        return time.monotonic() - started

    def measured(self, expression: str) -> dict[str, float]:
        """What Prometheus answers: the value of each instance."""
        answer = httpx2.get(f"{self.prometheus_url}/api/v1/query", params={"query": expression}, timeout=10)
        return {
            each["metric"].get("instance", ""): float(each["value"][1])
            for each in answer.raise_for_status().json()["data"]["result"]
        }

    def _run(self, command: list[str], seconds: float, variables: dict[str, str] | None = None) -> Ran:
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env={**self.environment, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )


def eventually(condition: Callable[[], bool], *, seconds: float, message: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.5)


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
