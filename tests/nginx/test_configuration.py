"""What the container writes when it starts, and whether nginx takes the whole. Its behaviour: tests/containers."""

import subprocess
from pathlib import Path

import pytest

from tests.nginx.front_door import Ran, render
from tests.nginx.front_door import start_script as start


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    directory = tmp_path / "certs"
    directory.mkdir()
    return directory


def make_certificate(directory: Path) -> None:
    files = ["-keyout", str(directory / "tls.key"), "-out", str(directory / "tls.crt")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", *files]
    subprocess.run(command, check=True, capture_output=True)


def verdict(tmp_path: Path) -> Ran:
    """What `nginx -t` says."""
    command = ["nginx", "-t", "-q", "-c", str(render(tmp_path))]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.needs("nginx")
def test_nginx_takes_the_configuration_without_tls(tmp_path: Path, certificates: Path) -> None:
    assert start(tmp_path).returncode == 0

    said = verdict(tmp_path)
    assert said.returncode == 0, said.stderr


@pytest.mark.needs("nginx", "openssl")
def test_nginx_takes_the_configuration_with_tls(tmp_path: Path, certificates: Path) -> None:
    make_certificate(certificates)
    assert "TLS: on" in start(tmp_path).stdout

    said = verdict(tmp_path)
    assert said.returncode == 0, said.stderr


def test_limits_follow_the_settings(tmp_path: Path, certificates: Path) -> None:
    start(tmp_path, MAX_UPLOAD_BYTES="1000000", NGINX_LOGIN_RATE="30r/m", NGINX_CONNECTIONS="7")

    assert (tmp_path / "run" / "upload-size.conf").read_text() == "client_max_body_size 2048576;\n"
    rates = (tmp_path / "run" / "rates.conf").read_text()
    assert "zone=login:10m rate=30r/m;" in rates
    assert "limit_conn connections 7;" in rates


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAX_UPLOAD_BYTES", "1GB"), ("NGINX_CONNECTIONS", "-1"), ("NGINX_API_RATE", "100"), ("NGINX_LOGIN_RATE", "fast")],
)  # fmt: skip
def test_a_limit_that_is_none_is_named(tmp_path: Path, certificates: Path, name: str, value: str) -> None:
    ran = start(tmp_path, **{name: value})

    assert ran.returncode == 1
    assert f"{name} must be" in ran.stderr
    assert f"'{value}'" in ran.stderr


@pytest.mark.parametrize("only", ["tls.crt", "tls.key"])
def test_half_a_certificate_is_told(tmp_path: Path, certificates: Path, only: str) -> None:
    (certificates / only).write_text("half")

    ran = start(tmp_path)

    assert ran.returncode == 1
    assert "only one of tls.crt and tls.key" in ran.stderr
