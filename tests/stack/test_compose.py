"""docker-compose.yml against itself, the settings, .env.example, nginx and Prometheus: what must agree does."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from api_server.settings import Settings as ApiSettings
from compose.environment import NEEDED_BY_PROFILE, PROFILES, TEMPLATE, parse, required_names
from compose.preflight import MEMORY_GIB
from ml_service.settings import Settings as MlSettings

pytestmark = pytest.mark.repository

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "docker-compose.yml").read_text()
BIN = Path(sys.executable).parent
Service = dict[str, Any]

ONE_SHOTS = {"migrate", "logging-setup"}
CORE = {
    *(
        "nginx",
        "api-server",
        "ml-service",
        "worker-ml",
        "worker-data",
        "worker-general",
        "relay",
        "beat",
        "flower",
    ),
    *("postgres", "redis-broker", "redis-cache", "minio", "migrate"),
}
API_PROCESSES = ("migrate", "api-server", "relay", "worker-general", "beat")
ML_PROCESSES = ("ml-service", "worker-ml", "worker-data")
WITHOUT_HEALTH_CHECK = {
    "redis-broker-exporter": "the image holds one program and no shell",
    "redis-cache-exporter": "the image holds one program and no shell",
    "fluent-bit": "the image holds one program and no shell",
    "migrate": "it ends",
    "logging-setup": "it ends",
}
WRITABLE = {
    "minio": "its console and its forks write beside the data",
    "grafana": "plugins",
    "elasticsearch": "its start script writes the key store",
    "kibana": "its start script writes the configuration",
}
PUBLIC = {"nginx": {80, 443, 8000, 8001}}
LOCAL = {
    "postgres": {5432: 5432},
    "redis-broker": {6379: 6379},
    "redis-cache": {6380: 6379},
    "minio": {9000: 9000, 9001: 9001},
    "flower": {5555: 5555},
    "prometheus": {9090: 9090},
    "alertmanager": {9093: 9093},
    "grafana": {3001: 3000},
    "elasticsearch": {9200: 9200},
    "kibana": {5601: 5601},
}
NOT_FOR_CONTAINERS = {"API_HOST", "ML_HOST", "API_PORT", "ML_PORT", "PLATFORM_DATA_DIR"}
"""The images say where to listen."""
OF_THE_IMAGE = {"ML_CACHE_DIR", "WORKER_SCRATCH_DIR"}
OF_PREPARING = {
    "ADMIN_USERNAME",
    "ADMIN_EMAIL",
    "ADMIN_PASSWORD",
    "DEMO_PASSWORD",
    "PREPARE_PATIENCE_SECONDS",
    "DATABASE_OWNER_URL",
}


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    found: dict[str, Service] = yaml.safe_load(TEXT)["services"]
    return found


@pytest.fixture(scope="module")
def documented() -> dict[str, str]:
    return parse((REPOSITORY / ".env.example").read_text())


def test_it_is_a_compose_file() -> None:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stdout


def test_every_service_has_one_profile_and_the_core_is_whole(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert len(service["profiles"]) == 1, name
    assert {service["profiles"][0] for service in services.values()} == set(PROFILES) == set(MEMORY_GIB)
    assert {name for name, service in services.items() if service["profiles"] == ["core"]} == CORE


def test_every_service_is_confined(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert service["logging"]["options"]["max-size"], name
        assert service["restart"] == ("no" if name in ONE_SHOTS else "unless-stopped"), name
        assert service.get("read_only") or name in WRITABLE, name
        assert "privileged" not in service, name


def test_every_service_has_a_health_check_or_a_reason(services: dict[str, Service]) -> None:
    for name, service in services.items():
        check = service.get("healthcheck", {})
        assert bool(check.get("test")) != (name in WITHOUT_HEALTH_CHECK), name
        assert "inspect" not in str(check), f"{name}: `inspect ping` takes a second of a processor each time"


def test_every_one_shot_is_awaited_by_something_that_stays(services: dict[str, Service]) -> None:
    """Otherwise `up --wait` takes its good end for a failure."""
    for one_shot in ONE_SHOTS:
        profile = services[one_shot]["profiles"]
        assert [
            name
            for name, service in services.items()
            if service["profiles"] == profile
            and name not in ONE_SHOTS
            and needs(service).get(one_shot, {}).get("condition") == "service_completed_successfully"
        ], one_shot


def test_nothing_depends_on_a_service_of_another_profile(services: dict[str, Service]) -> None:
    """Compose refuses such a file when only one of the two is chosen."""
    for name, service in services.items():
        for needed in needs(service):
            assert services[needed]["profiles"] == service["profiles"], f"{name} -> {needed}"


def needs(service: Service) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = service.get("depends_on", {})
    return found


class TestPorts:
    def test_are_those_that_are_promised(self, services: dict[str, Service]) -> None:
        public = {
            name: {inner for address, _, inner in ports(service) if address == "BIND_ADDRESS"}
            for name, service in services.items()
        }
        local = {
            name: {outer: inner for address, outer, inner in ports(service) if address == "127.0.0.1"}
            for name, service in services.items()
        }

        assert {name: found for name, found in public.items() if found} == PUBLIC
        assert {name: found for name, found in local.items() if found} == LOCAL

    def test_are_published_from_a_network_that_can(self, services: dict[str, Service]) -> None:
        internal = {
            name for name, network in yaml.safe_load(TEXT)["networks"].items() if network.get("internal")
        }

        assert internal == {"backend"}
        for name, service in services.items():
            assert not ports(service) or set(service["networks"]) - internal, name

    def test_of_applications_are_not_published(self, services: dict[str, Service]) -> None:
        for name in (*API_PROCESSES, *ML_PROCESSES):
            assert "ports" not in services[name], name
            assert services[name]["networks"] == ["backend"], name


def ports(service: Service) -> list[tuple[str, int, int]]:
    """(address or its variable, port of the machine by default, port of the container)."""
    pattern = re.compile(r"(?:\$\{(BIND_ADDRESS):-0\.0\.0\.0\}|(127\.0\.0\.1)):\$\{[A-Z0-9_]+:-(\d+)\}:(\d+)")
    matches = [pattern.fullmatch(each) for each in service.get("ports", [])]
    assert all(matches), service["ports"]
    return [(each[1] or each[2], int(each[3]), int(each[4])) for each in matches if each]


class TestImages:
    def test_are_pinned_named_in_full_and_can_be_replaced(self, services: dict[str, Service]) -> None:
        for name, service in services.items():
            match = re.fullmatch(r"\$\{([A-Z_]+_IMAGE):-([^}]+)\}", service["image"])
            assert match, name
            if "build" in service or match[2].startswith("mlp/"):
                continue
            assert re.fullmatch(
                r"[a-z.]+\.[a-z]+/[a-z0-9_./-]+:[A-Za-z0-9._-]*\d[A-Za-z0-9._-]*", match[2]
            ), name
            assert not match[2].endswith(":latest"), name
            assert "/minio/minio" not in match[2], "its images are gone"

    def test_of_ours_are_built_by_a_service_of_each_profile(self, services: dict[str, Service]) -> None:
        built = {
            (service["profiles"][0], service["image"]) for service in services.values() if "build" in service
        }

        for name, service in services.items():
            if "mlp/" in service["image"]:
                assert (service["profiles"][0], service["image"]) in built, name

    @pytest.mark.parametrize("package", ["api-server", "ml-service"])
    def test_have_a_sound_recipe(self, package: str) -> None:
        path = REPOSITORY / package / "Dockerfile"
        ran = subprocess.run([BIN / "hadolint", path], capture_output=True, text=True, check=False)

        assert ran.returncode == 0, ran.stdout
        text = path.read_text()
        assert f"requirements/{package}.txt" in text
        assert "--require-hashes" in text
        assert "# syntax=" not in text, "it would have to be pulled"
        assert "USER 10001:10001" in text

    def test_are_built_without_secrets_and_data(self) -> None:
        lines = (REPOSITORY / ".dockerignore").read_text().splitlines()

        assert "*" in lines, "nothing but what is named"
        assert not [line for line in lines if line.startswith("!") and ("env" in line or "data" in line)]


class TestVariables:
    def test_stand_in_the_example_with_the_same_default(self, documented: dict[str, str]) -> None:
        composite = {"DATABASE_URL", "DATABASE_OWNER_URL", "BROKER_URL", "CACHE_URL"}  # our own, unless given
        composite.add("TRUSTED_PROXIES")  # nginx, which is all that containers are reached through
        composite |= {
            "DRAIN_SECONDS",
            "MODEL_CACHE_BYTES",
        }  # replicas come and go; the container has its limit
        of_the_commands = {"REVISION", "TLS_DIGEST"}
        for name, default in re.findall(r"\$\{([A-Z0-9_]+):-([^${}]*)\}", TEXT):
            assert name in documented or name in of_the_commands, name
            assert documented.get(name, default) == default or name in composite, name

    def test_of_the_examples_compose_part_are_all_used(self, documented: dict[str, str]) -> None:
        used = {
            *re.findall(r"\$\{([A-Z0-9_]+)", TEXT),
            "COMPOSE_PROFILES",
            "MEMORY_CHECK",
            "COMPOSE_PROJECT_NAME",
        }
        example = (REPOSITORY / ".env.example").read_text()
        own = re.findall(r"^([A-Z0-9_]+)=", example[example.index("# --- Docker Compose") :], re.MULTILINE)

        assert not set(own) - used

    def test_that_are_required_are_made_by_dev_setup(self, documented: dict[str, str]) -> None:
        made = set(re.findall(r"^([A-Z0-9_]+)=", TEMPLATE, re.MULTILINE))

        assert set(required_names(TEXT)) <= made
        assert {name for names in NEEDED_BY_PROFILE.values() for name in names} <= made
        assert made <= set(documented)

    def test_are_not_demanded_of_who_leaves_their_profile_out(self, services: dict[str, Service]) -> None:
        """Compose asks for a required variable even where its profile is off."""
        assert not {name for names in NEEDED_BY_PROFILE.values() for name in names} & set(
            required_names(TEXT)
        )

    @pytest.mark.parametrize(
        ("settings", "processes"), [(ApiSettings, API_PROCESSES), (MlSettings, ML_PROCESSES)]
    )
    def test_reach_every_process_that_reads_them(
        self,
        services: dict[str, Service],
        settings: type[ApiSettings | MlSettings],
        processes: tuple[str, ...],
    ) -> None:
        wanted = {name.upper() for name in settings.model_fields} - NOT_FOR_CONTAINERS - OF_THE_IMAGE
        for process in processes:
            missing = wanted - set(services[process]["environment"]) - {"SERVICE_NAME"}
            assert missing <= (set() if process == "migrate" else OF_PREPARING), process

    def test_of_the_control_plane_stay_there(self, services: dict[str, Service]) -> None:
        for name in (*ML_PROCESSES, "flower", "nginx"):
            assert not {"DATABASE_URL", "JWT_SECRET"} & set(services[name]["environment"]), name

    def test_that_change_the_schema_are_known_to_nothing_that_goes_on_running(
        self, services: dict[str, Service]
    ) -> None:
        """Postgres itself needs the password when its volume is new."""
        holders = {name for name, service in services.items() if "_OWNER_" in str(service.get("environment"))}

        assert holders == {"migrate", "postgres"}
        assert "migrate" in ONE_SHOTS


class TestNeighbours:
    def test_of_nginx_are_services(self, services: dict[str, Service]) -> None:
        text = "".join(path.read_text() for path in (REPOSITORY / "nginx").rglob("*.conf"))
        named = set(re.findall(r"http://([a-z-]+):(\d+)", text))

        assert named == {("api-server", "8000"), ("ml-service", "8001")}
        assert {name for name, _ in named} <= set(services)

    def test_of_prometheus_are_services(self, services: dict[str, Service]) -> None:
        config = yaml.safe_load((REPOSITORY / "monitoring/prometheus/prometheus.yml").read_text())
        targets = {target.split(":")[0] for job in config["scrape_configs"] for target in hosts(job)} - {
            "localhost",
            "127.0.0.1",
        }

        assert targets
        assert targets <= set(services)
        for name in targets:
            assert set(services[name]["networks"]) & set(services["prometheus"]["networks"]), name

    def test_are_mounted_from_files_that_exist(self, services: dict[str, Service]) -> None:
        for name, service in services.items():
            for mount in service.get("volumes", []):
                source = mount.partition(":")[0]
                if source.startswith("./"):
                    assert (REPOSITORY / source).exists(), f"{name}: {source}"


def hosts(job: dict[str, Any]) -> Iterator[str]:
    for static in job.get("static_configs", []):
        yield from static["targets"]
    for dns in job.get("dns_sd_configs", []):
        yield from dns["names"]


def test_roles_are_made_and_no_tables() -> None:
    text = "".join(path.read_text() for path in (REPOSITORY / "init-db").iterdir())

    assert {"mlp_owner", "mlp_app", "mlp_grafana", "mlp_exporter"} <= set(
        re.findall(r"CREATE ROLE (\w+)", text)
    )
    assert "CREATE TABLE" not in text


@pytest.mark.parametrize(
    "script", ["test_api.sh", "init-db/10-roles.sh", "nginx/entrypoint.d/40-platform.sh"]
)
def test_scripts_are_sound(script: str) -> None:
    ran = subprocess.run(
        [BIN / "shellcheck", REPOSITORY / script], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stdout
    assert (REPOSITORY / script).stat().st_mode & 0o111, "it must be executable"


def test_the_documentation_names_every_command() -> None:
    page = (REPOSITORY / "docs" / "deployment.md").read_text()
    for target in ("dev-setup", "up", "health", "logs", "down", "clean", "backup", "restore", "scale-ml"):
        assert f"make {target}" in page
