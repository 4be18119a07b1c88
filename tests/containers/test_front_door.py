"""nginx as callers meet it: what it lets through, what it refuses and how, with and without TLS."""

import re
import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator

import httpx2
import pytest

from tests.containers.platform import Platform
from tests.verify.loop import new_model
from tests.verify.registry import expect_problem
from tests.verify.scene import Scene
from tests.verify.serving import DEMO_ROW

pytestmark = pytest.mark.timeout(300)

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=30) as client:
        yield client


class TestHides:
    @pytest.mark.parametrize(
        "path",
        [
            "/internal/jobs", "/internal/serving/sync", "//internal/serving/sync", "/api/../internal/serving/sync",
            "/api/%2e%2e/internal/serving/sync", "/api/v1/..%2f..%2finternal/serving/sync", "/docs/../internal/x",
            "/ml/../internal/serving/sync", "/ml/internal/x", "/metrics", "/ml/metrics", "/ml/../metrics", "/flower",
            "/INTERNAL/serving/sync", "/internal;/x", "/.env", "/README.md",
        ],
    )  # fmt: skip
    def test_what_is_not_for_the_world(self, platform: Platform, path: str) -> None:
        for port in ("HTTP_PORT", "API_PORT", "ML_PORT"):
            got, _ = raw(platform.ports[port], f"GET {path} HTTP/1.1\r\n")
            posted, answer = raw(platform.ports[port], f"POST {path} HTTP/1.1\r\nContent-Length: 0\r\n")
            assert got in (400, 404), f"{port} {path}: {got}"
            # Files of the landing page take no POST; that is nginx's own word, which names /docs.
            assert posted in (400, 404) or (posted == 405 and "/docs lists" in answer), (
                f"{port} {path}: {posted}"
            )

    def test_what_a_caller_says_about_itself(self, platform: Platform, http: httpx2.Client) -> None:
        forged = {"X-Forwarded-Prefix": "/evil", "X-Internal-Token": "guess", "X-Forwarded-For": "10.0.0.1"}

        page = http.get(f"{platform.api_url}/docs", headers=forged)

        assert page.status_code == 200
        assert "/evil" not in page.text

    def test_which_program_it_is(self, platform: Platform, http: httpx2.Client) -> None:
        assert not re.search(r"\d", http.get(platform.web_url).headers.get("server", ""))


class TestRefusals:
    def test_are_problems_with_the_request_id(self, platform: Platform, http: httpx2.Client) -> None:
        problem = expect_problem(
            http.get(f"{platform.api_url}/nothing", headers={"X-Request-ID": "mine-1"}), 404
        )

        assert problem["request_id"] == "mine-1"

    def test_of_a_large_body_come_before_it_is_sent(self, platform: Platform) -> None:
        head = (
            "POST /api/v1/projects HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 99000000\r\n"
        )

        status, body = raw(platform.ports["API_PORT"], head)

        assert status == 413
        assert '"code":"too_large"' in body

    def test_of_a_large_body_differ_by_route(self, platform: Platform, scene: Scene) -> None:
        row = {**DEMO_ROW, "padding": "x" * 3 * MIB}

        assert scene.nobody.predict("demo_model_1", row).status_code == 422
        assert scene.maker.api("POST", "/projects", json={"name": "x" * 3 * MIB}).status_code == 413

    def test_of_a_hasty_caller_say_when_to_come_back(self, platform: Platform, http: httpx2.Client) -> None:
        form = {"username": secrets.token_hex(8), "password": "wrong"}
        with httpx2.Client(timeout=30) as client:
            answers = [client.post(f"{platform.api_url}/api/v1/auth/refresh", data=form) for _ in range(120)]

        refused = [each for each in answers if each.status_code == 429]
        assert refused
        assert refused[0].headers["retry-after"] == "1"
        expect_problem(refused[0], 429)
        time.sleep(1.5)
        assert http.post(f"{platform.api_url}/api/v1/auth/refresh", data=form).status_code != 429

    def test_cut_off_a_client_that_sends_no_more(self, platform: Platform) -> None:
        with socket.create_connection(("127.0.0.1", platform.ports["API_PORT"]), timeout=30) as slow:
            slow.sendall(b"GET /api/v1/projects HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            started = time.monotonic()
            slow.recv(65536)  # returns when the other side has closed, or refused
            assert time.monotonic() - started < 15


def raw(port: int, head: str) -> tuple[int, str]:
    """Send a request as it stands, since a client would tidy its path up; returns the status and the rest."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"{head}Host: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    text = answer.decode(errors="replace")
    return int(text.split(" ", 2)[1]), text


class TestPassesOn:
    def test_one_request_id_through_all_logs(self, platform: Platform, scene: Scene) -> None:
        request_id = f"trace-{secrets.token_hex(6)}"
        answer = scene.maker.api("POST", "/models", json={"name": 7}, headers={"X-Request-ID": request_id})

        assert answer.headers["x-request-id"] == request_id
        assert request_id in platform.compose("logs", "--no-log-prefix", "nginx")

    def test_events_as_they_happen(self, scene: Scene) -> None:
        maker = scene.maker
        model = new_model(
            maker,
            scene.flights["id"],
            name="watched",
            parameters={"n_estimators": 400, "learning_rate": 0.01},
        )
        url = f"{maker.api_url}/api/v1/jobs/{model['job_id']}/events"
        arrivals = []
        with maker.http.stream("GET", url, headers=maker.authorization()) as events:
            for line in events.iter_lines():
                if line.startswith("event: progress"):
                    arrivals.append(time.monotonic())

        assert len(arrivals) > 3
        assert arrivals[-1] - arrivals[0] > 0.3, "all came at once: something on the way keeps them"

    def test_an_upload_while_it_is_still_being_sent(self, platform: Platform) -> None:
        """api-server refuses a stranger before the rest of the file is there: nothing waits for the whole."""
        head = (
            "POST /api/v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        )
        with socket.create_connection(("127.0.0.1", platform.ports["API_PORT"]), timeout=10) as connection:
            connection.sendall(head.encode() + b"x" * 10_000)
            answer = connection.recv(65536).decode()

        assert answer.split(" ", 2)[1] == "401"

    def test_many_stalled_bodies_without_filling_its_memory(self, platform: Platform, scene: Scene) -> None:
        head = (
            "POST /api/v1/projects HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 2000000\r\n\r\n"
        )
        stalled = [socket.create_connection(("127.0.0.1", platform.ports["API_PORT"])) for _ in range(150)]
        try:
            for each in stalled:
                each.sendall(head.encode() + b" " * 1_000_000)
            # Of the file system, not of its folders: nginx takes a file's name away as soon as it has opened it.
            disk = platform.compose("exec", "-T", "nginx", "df", "-k", "/tmp").splitlines()[-1].split()
            assert scene.nobody.predict("demo_model_1", DEMO_ROW).status_code == 200
        finally:
            for each in stalled:
                each.close()

        assert int(disk[2]) < 1000, "bodies are kept in memory"
        (nginx,) = platform.containers("nginx")
        assert nginx["RestartCount"] == 0
        assert not nginx["State"]["OOMKilled"]

    def test_swagger_of_both_services_on_one_origin(self, platform: Platform, http: httpx2.Client) -> None:
        for prefix, title in (("", "Platform API"), ("/ml", "Prediction service")):
            page = http.get(f"{platform.web_url}{prefix}/docs")
            assert f"{prefix}/openapi.json" in page.text
            for asset in re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css))"', page.text):
                assert http.get(f"{platform.web_url}{asset}").status_code == 200, asset
            schema = http.get(f"{platform.web_url}{prefix}/openapi.json").json()
            assert schema["info"]["title"] == title


@pytest.fixture(scope="class")
def certificate(platform: Platform) -> Iterator[ssl.SSLContext]:
    key, certificate = platform.certificates / "tls.key", platform.certificates / "tls.crt"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate), "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files],
        check=True,
        capture_output=True,
    )
    key.chmod(0o644)
    platform.certificates.chmod(0o755)
    platform.compose("restart", "nginx")
    platform.await_health()
    yield ssl.create_default_context(cafile=str(certificate))
    key.unlink()
    certificate.unlink()
    platform.compose("restart", "nginx")
    platform.await_health()


@pytest.mark.needs("openssl")
@pytest.mark.usefixtures("certificate")
class TestTls:
    def test_is_spoken_on_every_door(self, platform: Platform, certificate: ssl.SSLContext) -> None:
        with httpx2.Client(verify=certificate) as client:
            web = client.get(f"https://127.0.0.1:{platform.ports['HTTPS_PORT']}/")
            api = client.get(f"https://127.0.0.1:{platform.ports['API_PORT']}/health")
            url = f"https://127.0.0.1:{platform.ports['ML_PORT']}/predict/demo_model_1"
            ml = client.post(url, json={"input_data": DEMO_ROW})

        assert [web.status_code, api.status_code, ml.status_code] == [200, 200, 200]
        for answer in (web, api, ml):
            assert answer.headers["strict-transport-security"].startswith("max-age=")

    def test_is_where_plain_requests_are_sent(self, platform: Platform, http: httpx2.Client) -> None:
        web = http.get(f"{platform.web_url}/docs?x=1")
        api = http.post(f"{platform.api_url}/api/v1/auth/token")

        assert (web.status_code, api.status_code) == (308, 308)
        assert web.headers["location"] == f"https://127.0.0.1:{platform.ports['HTTPS_PORT']}/docs?x=1"
        assert api.headers["location"] == f"https://127.0.0.1:{platform.ports['API_PORT']}/api/v1/auth/token"

    def test_keeps_the_test_script_green(self, platform: Platform) -> None:
        ran = platform.run(
            "./test_api.sh",
            CURL_OPTIONS="-k",
            API_URL=platform.api_url.replace("http:", "https:"),
            ML_URL=platform.ml_url.replace("http:", "https:"),
            WEB_URL=f"https://127.0.0.1:{platform.ports['HTTPS_PORT']}",
        )

        assert ran.returncode == 0, ran.stdout

    def test_that_is_broken_keeps_up_from_starting(self, platform: Platform) -> None:
        certificate = platform.certificates / "tls.crt"
        sound = certificate.read_bytes()
        certificate.write_bytes(sound[: len(sound) // 2])
        try:
            ran = platform.make("up")
        finally:
            certificate.write_bytes(sound)

        assert ran.returncode != 0
        assert "cannot be used" in ran.stdout


def test_without_a_certificate_443_refuses_the_handshake(platform: Platform) -> None:
    context = ssl._create_unverified_context()
    door = ("127.0.0.1", platform.ports["HTTPS_PORT"])
    with socket.create_connection(door, timeout=10) as connection, pytest.raises(ssl.SSLError):
        context.wrap_socket(connection)
