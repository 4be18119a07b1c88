"""Is all well? Every container of the chosen profiles, and what the front door answers."""

import http.client
import json
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlsplit

from compose import engine
from compose.engine import Compose
from compose.environment import Environment

PROBE_SECONDS = 3.0
DOORS = (
    ("HTTP_PORT", "80", "/"),
    ("API_PORT", "8000", "/health/ready"),
    ("ML_PORT", "8001", "/health/ready"),
)


@dataclass(frozen=True)
class Container:
    """state, health and exit code as Docker tells them; health is empty for a container without a check."""

    service: str
    name: str
    state: str
    health: str
    exit_code: int
    since: str

    @classmethod
    def of(cls, told: dict[str, Any]) -> Self:
        return cls(
            service=told["Service"],
            name=told["Name"],
            state=told["State"],
            health=told.get("Health") or "",
            exit_code=int(told.get("ExitCode") or 0),
            since=told.get("Status") or "",
        )


@dataclass(frozen=True)
class Row:
    service: str
    name: str
    well: bool
    said: str


def rows(compose: Compose) -> list[Row]:
    """One for each container that there should be, and one for each door that is published."""
    services: dict[str, Any] = compose.config().get("services", {})
    containers = [Container.of(each) for each in compose.containers()]
    found = [row for name in sorted(services) for row in service_rows(name, containers, services[name])]
    if "nginx" in services and not engine.remote():
        found += doors(compose.environment)
    return found


def service_rows(name: str, containers: Iterable[Container], service: dict[str, Any]) -> list[Row]:
    """service: its part of the configuration. Replicas that should be there and are not get a row together."""
    own = sorted((each for each in containers if each.service == name), key=lambda each: each.name)
    found = [Row(name, each.name, *judge(each, once=service.get("restart") == "no")) for each in own]
    wanted = int(service.get("deploy", {}).get("replicas", 1))
    if len(own) < wanted:
        found.append(Row(name, "-", False, f"{len(own)} of {wanted} are there" if own else "is not there"))
    return found


def judge(container: Container, *, once: bool) -> tuple[bool, str]:
    """once: it does one piece of work and ends with 0."""
    if container.state == "exited" and once:
        return container.exit_code == 0, "done" if container.exit_code == 0 else container.since
    if container.state != "running":
        return False, container.since if container.state == "exited" else container.state
    if container.health in ("", "healthy"):
        return not once, container.since
    return False, container.health


def doors(environment: Environment) -> list[Row]:
    """What the front door answers, asked at the same time: one that hangs takes no time from the others."""
    ports = [(int(environment.get(setting, default)), path) for setting, default, path in DOORS]
    host = published_on(environment)
    with ThreadPoolExecutor(len(ports)) as threads:
        answers = list(threads.map(lambda door: answer(host, *door), ports))
    return [
        Row("front door", f"port {port}{path}", *said)
        for (port, path), said in zip(ports, answers, strict=True)
    ]


def published_on(environment: Environment) -> str:
    """An address of this machine on which nginx can be reached from here."""
    address = environment.get("BIND_ADDRESS")
    return "127.0.0.1" if address in ("", "0.0.0.0", "::") else address  # noqa: S104  # compared, not bound


def answer(host: str, port: int, path: str) -> tuple[bool, str]:
    """Ask this machine over HTTP, and over TLS where it sends us there."""
    try:
        status, body, location = _get(http.client.HTTPConnection(host, port, timeout=PROBE_SECONDS), path)
        if status == HTTPStatus.PERMANENT_REDIRECT:
            context = ssl._create_unverified_context()  # noqa: S323  # our own port, on this machine
            port = urlsplit(location).port or http.client.HTTPS_PORT
            secure = http.client.HTTPSConnection(host, port, timeout=PROBE_SECONDS, context=context)
            status, body, _ = _get(secure, path)
    except TimeoutError:
        return False, f"no answer within {PROBE_SECONDS:g} s"
    except (OSError, http.client.HTTPException) as error:
        return False, f"does not answer ({type(error).__name__})"
    return status < HTTPStatus.BAD_REQUEST, f"answers {status}{_failing(body)}"


def _get(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes, str]:
    """Status, the beginning of the body, and where a redirect leads."""
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(65536), response.getheader("Location", "")
    finally:
        connection.close()


def _failing(body: bytes) -> str:
    """The checks of a service that do not hold."""
    try:
        checks = json.loads(body)["checks"]
        failing = [f"{name}: {check['detail']}" for name, check in checks.items() if not check["ok"]]
    except (ValueError, KeyError, TypeError):
        return ""
    return f" ({'; '.join(failing)})" if failing else ""


def table(found: list[Row]) -> str:
    heads = ("", "service", "container", "state")
    cells = [("✓" if row.well else "✗", row.service, row.name, row.said) for row in found]
    widths = [max(len(line[column]) for line in (heads, *cells)) for column in range(4)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (heads, *cells)
    )


def sick(found: list[Row]) -> list[str]:
    """Names of the services that are not well, once each."""
    return list(dict.fromkeys(row.service for row in found if not row.well))
