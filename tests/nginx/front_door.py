"""nginx with our configuration, on paths and ports of a test."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "nginx" / "entrypoint.d" / "40-platform.sh"
SITE = REPOSITORY / "frontend"
START_SECONDS = 10.0
Ran = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class FrontDoor:
    """Addresses of what nginx publishes."""

    web_url: str
    api_url: str
    ml_url: str


def start_script(folder: Path, **variables: str) -> Ran:
    """What the container does first: writes to `folder`/run."""
    places = {"OUT": str(folder / "run"), "CERTS": str(folder / "certs")}
    return subprocess.run(
        ["sh", str(SCRIPT)],
        env={**os.environ, **places, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def render(folder: Path, further: Mapping[str, str] | None = None) -> Path:
    """Write the configuration with the container's paths turned into those of the test; returns its main file."""
    places = {
        " /tmp/": f" {folder}/",  # first: the others put such paths in
        "/run/platform": str(folder / "run"),
        "/etc/nginx/platform": str(folder / "conf"),
        "/run/nginx.pid": str(folder / "nginx.pid"),
        **(further or {}),
    }
    (folder / "conf").mkdir()
    sources = [REPOSITORY / "nginx" / "nginx.conf", *(REPOSITORY / "nginx" / "conf").iterdir()]
    for source in sources:
        text = source.read_text()
        for inside, outside in places.items():
            text = text.replace(inside, outside)
        (folder / "conf" / source.name).write_text(text)
    return folder / "conf" / "nginx.conf"


@contextmanager
def front_door(
    folder: Path, *, api_url: str, ml_url: str, replicas: Sequence[str] = ()
) -> Iterator[FrontDoor]:
    """Run nginx without TLS before services that run elsewhere. replicas: of ml-service, in place of `ml_url`."""
    (folder / "certs").mkdir()
    assert start_script(folder).returncode == 0
    urls = {name: f"http://127.0.0.1:{_listen(folder, name)}" for name in ("web", "api", "ml")}
    (folder / "run" / "servers.conf").write_text(_one_name(replicas))
    neighbours = {
        "http://api-server:8000": api_url,
        "http://ml-service:8001": "http://replicas" if replicas else ml_url,
        "/usr/share/nginx/platform": str(SITE),
        "listen 127.0.0.1:8080": f"listen unix:{folder}/health",
        "/dev/stdout": str(folder / "access.log"),
        "/dev/stderr": str(folder / "error.log"),
    }
    configuration = render(folder, neighbours)
    nginx = subprocess.Popen(
        ["nginx", "-c", str(configuration), "-g", "daemon off;"], stderr=subprocess.DEVNULL
    )
    try:
        _await(nginx, urls["web"], folder / "error.log")
        yield FrontDoor(web_url=urls["web"], api_url=urls["api"], ml_url=urls["ml"])
    finally:
        nginx.terminate()
        nginx.wait(START_SECONDS)


def _one_name(replicas: Sequence[str]) -> str:
    """Several addresses of one name, as Docker's name server gives them: nginx keeps no record of their failures."""
    servers = "".join(f"    server {url.removeprefix('http://')} max_fails=0;\n" for url in replicas)
    return f"upstream replicas {{\n{servers}}}\n" if replicas else ""


def _listen(folder: Path, name: str) -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    (folder / "run" / f"listen-{name}.conf").write_text(f"listen 127.0.0.1:{port};\n")
    return port


def _await(nginx: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and nginx.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nginx does not start: {log.read_text() if log.exists() else 'no word'}")
