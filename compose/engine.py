"""Docker and Compose, found and called."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from compose.environment import DEFAULT_PROFILES, REPOSITORY, Environment
from compose.errors import Stopped

OLDEST_ENGINE = (25, 0)
"""The first with `start_interval`: a container is looked at every second until it is healthy, and seldom after."""
OLDEST_COMPOSE = (2, 24)
QUESTION_SECONDS = 20
IN_THE_IMAGES = ("api-server", "ml-service", "platform-kit", "requirements")

Version = tuple[int, ...]
Stream = BinaryIO | int | None


def find() -> tuple[str, ...]:
    """The command line of Compose v2: the plugin, or the standalone binary. Raises Stopped."""
    if shutil.which("docker") is None:
        raise Stopped(
            "Docker is not installed, or not on the PATH. Install Docker Engine 25 or newer with the Compose "
            "plugin (https://docs.docker.com/engine/install/), or run the platform without it: make dev"
        )
    old: Version | None = None
    for command in (("docker", "compose"), ("docker-compose",)):
        version = _version(answer(*command, "version", "--short"))
        if version >= OLDEST_COMPOSE:
            return command
        old = old or version or None
    found = f"Compose {'.'.join(map(str, old))} is too old" if old else "Docker Compose is not installed"
    raise Stopped(
        f"{found}. Version {'.'.join(map(str, OLDEST_COMPOSE))} or newer is needed, as the plugin of Docker or as a "
        "binary docker-compose. Debian and Ubuntu: apt-get install docker-compose-plugin (from Docker's packages) or "
        "docker-compose-v2. Others: https://docs.docker.com/compose/install/"
    )


def engine_fault() -> str | None:
    """A sentence, if the engine does not answer or is too old."""
    ran = _run("docker", "version", "--format", "{{.Server.Version}}")
    said = ran.stderr.strip().splitlines()[-1:] or ["it says nothing"]
    if ran.returncode != 0 and "permission denied" in ran.stderr.lower():
        return (
            "You may not talk to the Docker engine. Join its group (sudo usermod -aG docker $USER, then log in again) "
            "or use sudo."
        )
    if ran.returncode != 0:
        return f"The Docker engine does not answer ({said[0]}). Start it: sudo systemctl start docker"
    if _version(ran.stdout) < OLDEST_ENGINE:
        return f"Docker Engine {ran.stdout.strip()} is too old; 25 or newer is needed."
    return None


@dataclass(frozen=True)
class Compose:
    """One platform: this repository's Compose file with one .env file."""

    command: tuple[str, ...]
    environment: Environment

    @property
    def base(self) -> tuple[str, ...]:
        """Compose finds the file by itself, and a docker-compose.override.yml beside it."""
        env_file = ("--env-file", str(self.environment.path)) if self.environment.path.exists() else ()
        return (*self.command, "--project-directory", str(REPOSITORY), *env_file)

    @property
    def variables(self) -> dict[str, str]:
        return {
            **os.environ,
            "COMPOSE_PROFILES": self.environment.get("COMPOSE_PROFILES", DEFAULT_PROFILES),
            # nginx reads the certificate when it starts: another one makes `up` replace the container.
            "TLS_DIGEST": self.environment.certificate_digest(),
            "REVISION": os.environ.get("REVISION") or _revision(),
            # Their time stamps would make another image of the same build, and `up` would replace what runs.
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        }

    def run(self, *arguments: str, stdin: Stream = None, stdout: Stream = None) -> int:
        """Run a command of Compose at the terminal; returns its exit code."""
        return subprocess.run(
            [*self.base, *arguments],
            cwd=REPOSITORY,
            env=self.variables,
            stdin=stdin,
            stdout=stdout,
            check=False,
        ).returncode

    def must(self, *arguments: str, failure: str, stdin: Stream = None, stdout: Stream = None) -> None:
        """As `run`; raises Stopped with `failure` unless it ends with 0."""
        if self.run(*arguments, stdin=stdin, stdout=stdout) != 0:
            raise Stopped(failure)

    def ask(self, *arguments: str) -> str:
        """What a command prints. Raises Stopped with its complaint."""
        ran = _run(*self.base, *arguments, variables=self.variables)
        if ran.returncode != 0:
            raise Stopped(f"docker compose {arguments[0]}: {ran.stderr.strip() or ran.stdout.strip()}")
        return ran.stdout

    @property
    def name(self) -> str:
        """Of the Compose project: containers, volumes and networks bear it."""
        return str(self.config()["name"])

    def config(self) -> dict[str, Any]:
        """The file with all variables filled in, for the chosen profiles."""
        found: dict[str, Any] = json.loads(self.ask("config", "--format", "json"))
        return found

    def containers(self) -> list[dict[str, Any]]:
        """What `ps` knows of each container of a service, stopped ones too; those of `run` are not meant to stay."""
        found = _json_lines(self.ask("--profile", "*", "ps", "--all", "--format", "json"))
        return [each for each in found if "com.docker.compose.oneoff=True" not in each.get("Labels", "")]


def _json_lines(text: str) -> Iterator[dict[str, Any]]:
    """Compose has printed one array, and later one object a line."""
    for line in text.splitlines():
        found = json.loads(line) if line.strip() else []
        yield from found if isinstance(found, list) else [found]


def _revision() -> str:
    """Of what the images are built from: another commit elsewhere makes no other image."""
    said = answer("git", "-C", str(REPOSITORY), "log", "-1", "--format=%h", "--", *IN_THE_IMAGES)
    return said.strip() or "unknown"


def answer(*command: str) -> str:
    """What a program prints; nothing, if it fails or is not there."""
    ran = _run(*command)
    return ran.stdout if ran.returncode == 0 else ""


def _run(*command: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0]) is None:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]} is not installed")
    try:
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env=variables,
            capture_output=True,
            text=True,
            timeout=QUESTION_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {QUESTION_SECONDS} s")


def _version(text: str) -> Version:
    """`v2.40.3+ds1`: (2, 40, 3); nothing that looks like a version: ()."""
    match = re.search(r"\d+(\.\d+)+", text)
    return tuple(int(each) for each in match[0].split(".")) if match else ()


def remote() -> bool:
    """The engine is on another machine: its ports and files are not those of this one."""
    return os.environ.get("DOCKER_HOST", "").startswith(("tcp://", "ssh://"))
