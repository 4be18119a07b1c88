"""What `make up` looks at before it starts anything. Each fault is a sentence that says how to mend it."""

import errno
import re
import shutil
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compose import engine
from compose.engine import Compose
from compose.environment import COMPOSE_FILE, Environment

GIB = 1024**3
MEMORY_GIB = {"core": 2.5, "monitoring": 0.5, "dashboards": 0.4, "host": 0.2, "logging": 2.4}
"""What each profile uses when it is at work; the limits in docker-compose.yml are higher."""
NGINX_USER = 101

_PORT_SETTING = re.compile(r"\$\{([A-Z0-9_]+_PORT):-(\d+)\}:\d+")


@dataclass(frozen=True)
class Port:
    service: str
    number: int
    address: str
    setting: str


def faults(compose: Compose) -> list[str]:
    """Everything that is wrong, not only the first."""
    found = [*filter(None, [engine.engine_fault()]), *compose.environment.faults()]
    if found:
        return found
    return [
        *filter(None, [memory_fault(_engine_memory(), compose.environment)]),
        *certificate_faults(compose.environment.certificates),
        *port_faults(compose),
    ]


def memory_fault(available_bytes: int | None, environment: Environment) -> str | None:
    """available_bytes: all that the engine's machine has, used or not; None: unknown."""
    profiles = MEMORY_GIB if "*" in environment.profiles else environment.profiles
    needed = sum(MEMORY_GIB.get(profile, 0) for profile in profiles)
    if available_bytes is None or available_bytes >= needed * GIB or environment.get("MEMORY_CHECK") == "off":
        return None
    return (
        f"The profiles {', '.join(profiles)} need {needed:.1f} GiB of memory, and Docker has "
        f"{available_bytes / GIB:.1f} GiB. Give it more (Docker Desktop: Settings, Resources), choose fewer with "
        "COMPOSE_PROFILES in .env, or set MEMORY_CHECK=off to try."
    )


def _engine_memory() -> int | None:
    said = engine.answer("docker", "info", "--format", "{{.MemTotal}}").strip()
    return int(said) if said.isdecimal() and int(said) > 0 else None


def certificate_faults(directory: Path) -> list[str]:
    """None without a certificate: the platform then goes without TLS."""
    if not directory.is_dir():
        return [f"TLS_DIR names {directory}, and there is no such directory."]
    certificate, key = directory / "tls.crt", directory / "tls.key"
    present = [path for path in (certificate, key) if path.exists()]
    if not present:
        return []
    if len(present) == 1:
        missing = key if present == [certificate] else certificate
        return [
            f"{directory} holds {present[0].name} without {missing.name}. Add it, or remove both to go without TLS."
        ]
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: b"")
    except PermissionError:
        return _expired(certificate)  # the key is for nginx to read, and need not be for us
    except (ssl.SSLError, OSError, ValueError) as error:
        return [_broken_certificate(directory, error)]
    return [*_expired(certificate), *_closed_key(key)]


def _broken_certificate(directory: Path, error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    if "KEY_VALUES_MISMATCH" in str(reason):
        return f"The key {directory / 'tls.key'} does not belong to the certificate tls.crt beside it."
    return (
        f"The certificate in {directory} cannot be used ({reason}). tls.crt must be the certificate with "
        "its chain, and tls.key its key without a pass phrase, both as PEM (-----BEGIN ...)."
    )


def _expired(certificate: Path) -> list[str]:
    if shutil.which("openssl") is None:
        return []
    command = ["openssl", "x509", "-checkend", "0", "-noout", "-in", str(certificate)]
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        return []
    return [
        f"The certificate {certificate} has expired. Put a new one there, or remove it to go without TLS."
    ]


def _closed_key(key: Path) -> list[str]:
    """nginx does not run as root, so it reads the key as anybody would. Docker Desktop has owners of its own."""
    if sys.platform != "linux":
        return []
    known = key.stat()
    if known.st_mode & 0o004 or (known.st_uid == NGINX_USER and known.st_mode & 0o400):
        return []
    return [
        f"nginx, which runs as user {NGINX_USER}, may not read {key}. "
        f"Give it to that user (sudo chown {NGINX_USER} {key}), or let the directory guard it (chmod 0644 {key})."
    ]


def port_faults(compose: Compose) -> list[str]:
    """A port that somebody else holds. What our own containers publish now is ours."""
    if engine.remote():
        return []
    ours = {port for each in compose.containers() for port in published_now(each)}
    wanted = [port for port in published(compose.config(), compose.environment) if port.number not in ours]
    clashes = [port for index, port in enumerate(wanted) if _same(port, wanted[:index])]
    return [
        *(
            f"Port {port.number} is asked for twice; change {port.setting} in {compose.environment.path.name}."
            for port in clashes
        ),
        *(
            f"Port {port.number} on {port.address}, wanted by {port.service}, is in use. "
            f"End what uses it (sudo ss -ltnp 'sport = :{port.number}' names it), or set {port.setting} in "
            f"{compose.environment.path.name}."
            for port in wanted
            if taken(port.address, port.number)
        ),
    ]


def published_now(container: dict[str, Any]) -> set[int]:
    """The ports of this machine that lead into a container, as `ps` tells them."""
    return {
        int(each["PublishedPort"]) for each in container.get("Publishers") or [] if each.get("PublishedPort")
    }


def published(config: dict[str, Any], environment: Environment) -> list[Port]:
    settings = {
        int(environment.get(name, default)): name
        for name, default in _PORT_SETTING.findall(COMPOSE_FILE.read_text())
    }
    return [
        Port(
            service=name,
            number=int(each["published"]),
            address=each.get("host_ip") or "0.0.0.0",  # noqa: S104  # what it means when it is left out
            setting=settings.get(int(each["published"]), "its port"),
        )
        for name, service in config.get("services", {}).items()
        for each in service.get("ports", [])
    ]


def _same(port: Port, others: list[Port]) -> bool:
    return any(port.number == other.number for other in others)


def taken(address: str, number: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, number))
        except PermissionError:  # a low port, and we are not root: the engine is
            return _answers(number)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _answers(number: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", number)) == 0
