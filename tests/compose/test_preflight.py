import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose import preflight
from compose.environment import Environment
from compose.preflight import GIB, certificate_faults, memory_fault, published, taken

needs_openssl = pytest.mark.needs("openssl")


def environment(tmp_path: Path, *lines: str) -> Environment:
    path = tmp_path / ".env"
    path.write_text("\n".join(lines) + "\n")
    return Environment(path, shell={})


class TestMemory:
    def test_that_suffices_is_no_fault(self, tmp_path: Path) -> None:
        assert memory_fault(4 * GIB, environment(tmp_path)) is None

    def test_that_is_unknown_is_no_fault(self, tmp_path: Path) -> None:
        assert memory_fault(None, environment(tmp_path)) is None

    def test_that_is_too_little_is_told_with_three_ways_out(self, tmp_path: Path) -> None:
        fault = memory_fault(2 * GIB, environment(tmp_path, "COMPOSE_PROFILES=core,logging"))

        assert fault
        for part in ("core, logging need 4.9 GiB", "has 2.0 GiB", "COMPOSE_PROFILES", "MEMORY_CHECK=off"):
            assert part in fault

    def test_suffices_for_fewer_profiles(self, tmp_path: Path) -> None:
        assert memory_fault(3 * GIB, environment(tmp_path, "COMPOSE_PROFILES=core")) is None
        assert memory_fault(3 * GIB, environment(tmp_path, "COMPOSE_PROFILES=*"))

    def test_is_not_looked_at_when_told_so(self, tmp_path: Path) -> None:
        assert memory_fault(1 * GIB, environment(tmp_path, "MEMORY_CHECK=off")) is None


class TestPorts:
    @pytest.fixture
    def listening(self) -> Iterator[int]:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            yield server.getsockname()[1]

    def test_that_somebody_holds_are_taken(self, listening: int) -> None:
        assert taken("127.0.0.1", listening)
        assert taken("0.0.0.0", listening)

    def test_that_nobody_holds_are_free(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]

        assert not taken("127.0.0.1", port)

    def test_know_the_setting_that_moves_them(self, tmp_path: Path) -> None:
        config = {
            "services": {
                "nginx": {"ports": [{"published": "8080", "target": 80}]},
                "flower": {"ports": [{"published": "5555", "target": 5555, "host_ip": "127.0.0.1"}]},
                "relay": {},
            }
        }

        found = published(config, environment(tmp_path, "HTTP_PORT=8080"))

        assert [(each.service, each.number, each.address, each.setting) for each in found] == [
            ("nginx", 8080, "0.0.0.0", "HTTP_PORT"),
            ("flower", 5555, "127.0.0.1", "FLOWER_PORT"),
        ]


@needs_openssl
class TestCertificate:
    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        self.make(tmp_path, days="2")
        return tmp_path

    def make(self, directory: Path, *, days: str) -> None:
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
        files = ["-keyout", str(directory / "tls.key"), "-out", str(directory / "tls.crt"), "-days", days]
        subprocess.run([*command, *files], check=True, capture_output=True)
        (directory / "tls.key").chmod(0o644)

    def test_that_is_sound_is_no_fault(self, directory: Path) -> None:
        assert certificate_faults(directory) == []

    def test_that_is_not_there_means_no_tls(self, tmp_path: Path) -> None:
        assert certificate_faults(tmp_path) == []

    def test_whose_directory_is_misspelt(self, tmp_path: Path) -> None:
        (fault,) = certificate_faults(tmp_path / "cert")

        assert "there is no such directory" in fault

    @pytest.mark.parametrize(("left", "missing"), [("tls.crt", "tls.key"), ("tls.key", "tls.crt")])
    def test_of_which_half_is_missing(self, directory: Path, left: str, missing: str) -> None:
        (directory / missing).unlink()

        (fault,) = certificate_faults(directory)

        assert f"holds {left} without {missing}" in fault

    def test_that_is_no_certificate(self, directory: Path) -> None:
        (directory / "tls.crt").write_text("not a certificate")

        (fault,) = certificate_faults(directory)

        assert "cannot be used" in fault
        assert "PEM" in fault

    def test_whose_key_is_another(self, directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        other = tmp_path_factory.mktemp("other")
        self.make(other, days="2")
        (directory / "tls.key").write_bytes((other / "tls.key").read_bytes())

        (fault,) = certificate_faults(directory)

        assert "does not belong to the certificate" in fault

    def test_whose_key_asks_for_a_pass_phrase(self, directory: Path) -> None:
        key = directory / "tls.key"
        command = ["openssl", "rsa", "-aes256", "-in", str(key), "-out", str(key), "-passout", "pass:secret"]
        subprocess.run(command, check=True, capture_output=True)

        (fault,) = certificate_faults(directory)

        assert "without a pass phrase" in fault

    def test_that_nginx_may_not_read(self, directory: Path) -> None:
        (directory / "tls.key").chmod(0o600)

        (fault,) = certificate_faults(directory)

        assert f"user {preflight.NGINX_USER}, may not read" in fault

    @pytest.mark.skipif(os.getuid() != 0, reason="gives the key to another user, which root may")
    def test_whose_key_is_for_nginx_alone(self, directory: Path) -> None:
        key = directory / "tls.key"
        key.chmod(0o600)
        os.chown(key, preflight.NGINX_USER, 0)
        assert certificate_faults(directory) == []
        check = f"print(compose.preflight.certificate_faults(pathlib.Path('{directory}')))"
        for each in (directory, *directory.parents[:3]):
            each.chmod(0o755)

        ran = subprocess.run(
            [
                sys.executable,
                "-c",
                f"import os, pathlib, compose.preflight; os.setgid(65534); os.setuid(65534); {check}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )

        assert ran.stdout == "[]\n", ran.stderr

    def test_that_has_expired(self, directory: Path) -> None:
        old = ["-not_before", "20200101000000Z", "-not_after", "20200102000000Z"]
        command = [
            "openssl",
            "x509",
            "-in",
            str(directory / "tls.crt"),
            "-signkey",
            str(directory / "tls.key"),
        ]
        supported = subprocess.run(
            ["openssl", "x509", "-help"], capture_output=True, text=True, check=False
        ).stderr
        dates = old if "-not_before" in supported else ["-days", "-1"]
        made = subprocess.run([*command, *dates], capture_output=True, check=True).stdout
        (directory / "tls.crt").write_bytes(made)

        (fault,) = certificate_faults(directory)

        assert "has expired" in fault
