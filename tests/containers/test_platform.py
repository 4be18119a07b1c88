"""The platform as its users run it. The tests build on one another: the later ones stop, scale and destroy things."""

import json
import re
import socket
import sys
import time
from pathlib import Path

import httpx2
import pytest

from tests.containers.memory import pss_bytes
from tests.containers.platform import OUTAGE_SECONDS, REPOSITORY, Platform, eventually
from tests.verify.calling import Caller
from tests.verify.loop import body_of, deploy, finished_job, new_model, trained
from tests.verify.scene import Scene
from tests.verify.serving import DEMO_ROW

pytestmark = pytest.mark.timeout(600)

MOST_MEMORY_BYTES = 2.5e9
MONITORING = {
    *("prometheus", "alertmanager", "postgres-exporter", "node-exporter"),
    *("redis-broker-exporter", "redis-cache-exporter"),
}
STAND_IN_LACKS_METRICS = {"minio"}
"""Some S3 servers that speak MinIO's protocol have none of its metrics."""


class TestUp:
    def test_ends_with_a_table_of_states_and_addresses(self, platform: Platform) -> None:
        said = platform.started_with

        assert platform.web_url.replace("127.0.0.1", "localhost") in said
        assert "admin, ADMIN_PASSWORD" in said
        assert "✗" not in said

    def test_is_followed_by_good_health(self, platform: Platform) -> None:
        ran = platform.make("health")

        assert ran.returncode == 0, ran.stdout
        for service in ("nginx", "api-server", "ml-service", "worker-ml", "migrate", "prometheus"):
            assert re.search(rf"^✓  {service} ", ran.stdout, re.MULTILINE), ran.stdout

    def test_changes_nothing_the_second_time(self, platform: Platform) -> None:
        def identities() -> set[tuple[str, str]]:
            once = {"migrate"}
            return {
                (each["Id"], each["State"]["StartedAt"])
                for each in platform.containers()
                if each["Config"]["Labels"]["com.docker.compose.service"] not in once
            }

        before = identities()
        ran = platform.make("up")

        assert ran.returncode == 0, ran.stdout
        assert identities() == before

    def test_keeps_the_core_below_two_and_a_half_gigabytes(self, platform: Platform) -> None:
        found = {
            each["Name"].lstrip("/"): pss_bytes(each["State"]["Pid"], each["Id"])
            for each in platform.containers()
            if each["State"]["Running"]
            and each["Config"]["Labels"]["com.docker.compose.service"] not in MONITORING
        }
        for name, size in sorted(found.items(), key=lambda item: -item[1]):
            print(f"{name:<40}{size / 1e6:>8.1f} MB")
        print(f"{'core':<40}{sum(found.values()) / 1e6:>8.1f} MB")

        assert all(found.values()), "a container of which nothing is known"
        assert sum(found.values()) < MOST_MEMORY_BYTES


class TestContainers:
    def test_are_confined(self, platform: Platform) -> None:
        writable = {"minio"}
        for each in platform.containers():
            service, host = each["Config"]["Labels"]["com.docker.compose.service"], each["HostConfig"]
            assert host["ReadonlyRootfs"] or service in writable, service
            assert host["CapDrop"] == ["ALL"], service
            assert any("no-new-privileges" in option for option in host["SecurityOpt"]), service
            assert host["Memory"] > 0, service
            assert host["LogConfig"]["Config"]["max-size"], service
            assert not host["Privileged"], service

    def test_publish_only_what_is_promised(self, platform: Platform) -> None:
        for each in platform.containers():
            service = each["Config"]["Labels"]["com.docker.compose.service"]
            published = {
                binding["HostIp"]
                for port in each["NetworkSettings"]["Ports"].values()
                for binding in port or []
            }
            assert published <= {"127.0.0.1"}, service
            assert not published or service not in ("api-server", "ml-service", "worker-ml", "relay")

    def test_of_applications_have_no_way_out(self, platform: Platform) -> None:
        backend, local = (
            json.loads(platform.docker("network", "inspect", f"{platform.project}_{name}"))[0]
            for name in ("backend", "local")
        )

        assert backend["Internal"]
        assert local["Options"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"
        for service in (
            "api-server",
            "relay",
            "worker-general",
            "beat",
            "ml-service",
            "worker-ml",
            "worker-data",
        ):
            routes = platform.compose("exec", "-T", service, "cat", "/proc/net/route").splitlines()[1:]
            assert not [line for line in routes if line.split()[1] == "00000000"], f"{service} has a gateway"

    @pytest.mark.parametrize("service", ["api-server", "ml-service"])
    def test_hold_no_build_tools_and_no_root(self, platform: Platform, service: str) -> None:
        look = "id -u; for tool in gcc cc make git pip pip3 apt-key; do command -v $tool; done; true"
        found = platform.compose("exec", "-T", service, "sh", "-c", look)

        assert found.split() == ["10001"]

    def test_of_api_server_hold_no_machine_learning(self, platform: Platform) -> None:
        names = "numpy", "pandas", "sklearn", "xgboost", "lightgbm", "pyarrow", "ml_service"
        lookup = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"

        assert platform.compose("exec", "-T", "api-server", "python", "-c", lookup).strip() == "[]"

    def test_of_ml_service_know_no_database(self, platform: Platform) -> None:
        for service in ("ml-service", "worker-ml", "worker-data"):
            variables = " ".join(platform.containers(service)[0]["Config"]["Env"])
            assert "DATABASE_URL" not in variables
            assert "JWT_SECRET" not in variables


class TestPeople:
    def test_run_the_test_script(self, platform: Platform) -> None:
        ran = platform.run("./test_api.sh")

        assert ran.returncode == 0, ran.stdout
        assert " 0 failed" in ran.stdout

    def test_run_the_whole_loop_through_nginx(self, platform: Platform) -> None:
        ran = platform.run(sys.executable, "examples/python_client_demo.py")

        assert ran.returncode == 0, ran.stdout
        assert "Every step held." in ran.stdout

    def test_sign_in_with_the_accounts_of_the_environment(self, platform: Platform, scene: Scene) -> None:
        for username, role in (("admin", "admin"), ("demo", "data_scientist")):
            caller = scene.anybody()
            caller.username, caller.password = username, platform.secret(f"{username.upper()}_PASSWORD")
            body_of(caller.log_in())
            assert body_of(caller.api("GET", "/auth/me"))["role"] == role


class TestMonitoring:
    def test_sees_every_target(self, platform: Platform) -> None:
        def down() -> set[str]:
            answer = httpx2.get(f"{platform.prometheus_url}/api/v1/targets", timeout=10).json()["data"]
            return {
                each["labels"]["job"] for each in answer["activeTargets"] if each["health"] != "up"
            } - STAND_IN_LACKS_METRICS

        eventually(
            lambda: not down(), seconds=60, message="some targets stay down: see /targets of Prometheus"
        )

    def test_reads_the_database_and_both_redis(self, platform: Platform) -> None:
        assert set(platform.measured("pg_up").values()) == {1.0}
        assert list(platform.measured("redis_up").values()) == [1.0, 1.0]

    def test_has_loaded_its_rules(self, platform: Platform) -> None:
        groups = httpx2.get(f"{platform.prometheus_url}/api/v1/rules", timeout=10).json()["data"]["groups"]

        assert [rule for group in groups for rule in group["rules"]]
        assert all(rule["health"] in ("ok", "unknown") for group in groups for rule in group["rules"])

    def test_answers_every_question_of_the_dashboard(self, platform: Platform) -> None:
        dashboard = json.loads((REPOSITORY / "monitoring/grafana/dashboards/platform.json").read_text())
        expressions = {
            target["expr"].replace("$__rate_interval", "5m")
            for panel in dashboard["panels"]
            for target in panel.get("targets", [])
        }
        without_data = {each for each in expressions if not platform.measured(each)}

        assert len(expressions) > 10
        # Faults that have not happened, loads that were long ago, and a Redis without a limit leave nothing to show.
        rare = re.compile(r"failures|stale|4xx|mlp_model_load|redis_memory_max")
        assert not {each for each in without_data if not rare.search(each)}


class TestGrafanasRole:
    def ask(self, platform: Platform, statement: str) -> str:
        password = platform.secret("GRAFANA_DB_PASSWORD")
        address = f"postgresql://mlp_grafana:{password}@127.0.0.1:5432/mlp"
        return platform.compose(
            "exec", "-T", "postgres", "sh", "-c", f'psql -At "{address}" -c "{statement}" 2>&1 || true'
        )

    def test_reads_jobs_and_no_passwords(self, platform: Platform) -> None:
        assert self.ask(platform, "SELECT count(*) >= 0 FROM jobs").strip() == "t"
        assert "permission denied" in self.ask(platform, "SELECT * FROM users")
        assert "permission denied" in self.ask(platform, "SELECT * FROM sessions")

    def test_writes_nothing(self, platform: Platform) -> None:
        assert "ERROR" in self.ask(platform, "DELETE FROM jobs")


class TestReplicas:
    def test_three_of_each_share_the_work_and_are_all_measured(
        self, platform: Platform, scene: Scene
    ) -> None:
        ran = platform.make("scale-ml", N="3")
        assert ran.returncode == 0, ran.stdout
        scale = ("--scale", "api-server=3", "--scale", "ml-service=3")
        platform.compose("up", "-d", "--no-recreate", "--wait", *scale, seconds=200)

        for job in ("api-server", "ml-service"):
            eventually(
                lambda job=job: list(platform.measured(f'up{{job="{job}"}}').values()) == [1.0, 1.0, 1.0],  # type: ignore[misc]
                seconds=60,
                message=f"Prometheus does not see three of {job}",
            )
        for _ in range(60):
            body_of(scene.nobody.predict("demo_model_1", DEMO_ROW))
        addresses = set(re.findall(r'"nginx.upstream":"([0-9.]+):8001"', platform.compose("logs", "nginx")))
        assert len(addresses) >= 3

    def test_a_new_model_is_served_by_all_of_them(self, platform: Platform, scene: Scene) -> None:
        maker = scene.maker
        model = trained(maker, new_model(maker, scene.flights["id"], name="served by three"))
        endpoint = deploy(maker, model)["endpoint"]

        answers = [body_of(maker.predict(endpoint, scene.rows[0].features)) for _ in range(30)]

        assert len({each["confidence_score"] for each in answers}) == 1
        served = re.findall(
            rf'POST /predict/{endpoint} 200.*?"nginx.upstream":"([0-9.]+):8001"',
            platform.compose("logs", "nginx"),
        )
        assert len(set(served)) == 3

    def test_one_that_is_killed_is_not_noticed(self, platform: Platform, impatient: Caller) -> None:
        platform.docker("kill", platform.containers("ml-service")[0]["Id"])

        statuses = [impatient.predict("demo_model_1", DEMO_ROW).status_code for _ in range(40)]

        assert set(statuses) == {200}

    def test_are_one_again_after_up(self, platform: Platform) -> None:
        assert platform.make("up").returncode == 0

        assert len(platform.containers("ml-service")) == 1
        assert len(platform.containers("api-server")) == 1


class TestHealth:
    @pytest.mark.parametrize(
        "service", ["nginx", "postgres", "api-server", "ml-service", "worker-data", "beat"]
    )
    def test_names_a_paused_container_within_ten_seconds(self, platform: Platform, service: str) -> None:
        container = platform.containers(service)[0]["Id"]
        platform.docker("pause", container)
        try:
            started = time.monotonic()
            ran = platform.make("health")
            seconds = time.monotonic() - started
        finally:
            platform.docker("unpause", container)

        assert ran.returncode != 0
        assert re.search(rf"^✗  {service} .*paused", ran.stdout, re.MULTILINE), ran.stdout
        assert f"Not well: {service}" in ran.stdout or f", {service}" in ran.stdout
        assert seconds < 10

    def test_misses_a_container_that_was_removed(self, platform: Platform) -> None:
        platform.await_health()
        platform.docker("rm", "--force", platform.containers("beat")[0]["Id"])

        ran = platform.make("health")

        assert ran.returncode != 0
        assert re.search("^✗  beat .*is not there", ran.stdout, re.MULTILINE), ran.stdout
        assert platform.make("up").returncode == 0

    def test_is_not_troubled_by_a_command_that_runs_beside(self, platform: Platform) -> None:
        platform.await_health()
        platform.compose("run", "--no-deps", "-T", "migrate", "python", "-c", "raise SystemExit(3)", code=3)

        ran = platform.make("health")

        assert ran.returncode == 0, ran.stdout

    def test_names_a_service_that_answers_no_more(self, platform: Platform) -> None:
        platform.await_health()
        platform.docker("pause", platform.containers("ml-service")[0]["Id"])
        try:
            ran = platform.make("health")
        finally:
            platform.docker("unpause", platform.containers("ml-service")[0]["Id"])

        assert "Not well: ml-service, front door" in ran.stdout


@pytest.mark.parametrize(
    "services",
    [
        ("postgres",),
        ("redis-broker", "redis-cache"),
        ("minio",),
        ("api-server",),
        ("ml-service",),
        ("worker-ml", "worker-data", "worker-general"),
        ("relay", "beat", "nginx"),
    ],
    ids=lambda services: services[0],
)
def test_a_service_that_was_away_comes_back_and_nothing_is_lost(
    platform: Platform, scene: Scene, impatient: Caller, services: tuple[str, ...]
) -> None:
    maker = scene.maker
    earlier = maker.predict(scene.model["endpoint"], scene.rows[0].features).json()
    job: dict[str, str] = {}

    def during() -> None:
        """What is asked for meanwhile is refused with a reason to come again, or done afterwards."""
        if "nginx" in services:
            return
        impatient.tokens = maker.tokens
        answer = impatient.api(
            "POST", f"/models/{scene.model['id']}/train", json={"parameters": {"n_estimators": 20}}
        )
        assert answer.status_code in (202, 503), answer.text
        if answer.status_code == 202:
            job.update(answer.json())
        else:
            assert answer.headers["retry-after"]
        if "ml-service" not in services:
            assert impatient.predict("demo_model_1", DEMO_ROW).status_code == 200

    platform.outage(*services, during=during)
    back = platform.await_health()
    print(f"{services[0]}: {OUTAGE_SECONDS:g} s away, well {back:.0f} s after")

    if job:
        assert finished_job(maker, job["id"], patience_seconds=120)["status"] == "succeeded"
    later = maker.predict(scene.model["endpoint"], scene.rows[0].features).json()
    assert later["probabilities"] == earlier["probabilities"]


class TestFaults:
    """Wrong settings, each told in a sentence, with nothing started or changed."""

    def changed(self, platform: Platform, tmp_path: Path, **values: str) -> Path:
        lines = [f"{name}={value}" for name, value in values.items()]
        kept = [
            line
            for line in platform.env_file.read_text().splitlines()
            if line.partition("=")[0] not in values
        ]
        path = tmp_path / ".env"
        path.write_text("\n".join([*kept, *lines]) + "\n")
        return path

    def test_a_database_password_that_is_not_the_databases(self, platform: Platform, tmp_path: Path) -> None:
        env_file = self.changed(platform, tmp_path, POSTGRES_APP_PASSWORD="a" * 32 + "bcd")
        command = ["python3", "-m", "compose", "--env-file", str(env_file), "run"]

        ran = platform.run(*command, "run", "--rm", "--no-deps", "-T", "migrate")

        assert ran.returncode != 0
        assert "POSTGRES_APP_PASSWORD" in ran.stdout
        assert "Traceback" not in ran.stdout

    def test_storage_keys_that_are_not_the_storages(self, platform: Platform, tmp_path: Path) -> None:
        env_file = self.changed(platform, tmp_path, S3_SECRET_KEY="x7" * 20 + "bcd")
        command = ["python3", "-m", "compose", "--env-file", str(env_file), "run"]

        ran = platform.run(*command, "run", "--rm", "--no-deps", "-T", "migrate")

        assert ran.returncode != 0
        assert "S3_SECRET_KEY" in ran.stdout
        assert "Traceback" not in ran.stdout

    def test_production_with_demo_models_and_accounts(self, platform: Platform, tmp_path: Path) -> None:
        env_file = self.changed(platform, tmp_path, ENVIRONMENT="production", CORS_ORIGINS="*")
        command = ["python3", "-m", "compose", "--env-file", str(env_file), "run"]

        api = platform.run(*command, "run", "--rm", "--no-deps", "-T", "migrate")
        ml = platform.run(*command, "run", "--rm", "--no-deps", "-T", "ml-service")

        assert "DEMO_PASSWORD" in api.stdout
        assert "CORS_ORIGINS" in api.stdout
        assert "DEMO_MODELS" in ml.stdout
        assert api.returncode != 0
        assert ml.returncode != 0
        assert "Traceback" not in api.stdout + ml.stdout

    def test_a_port_in_use(self, platform: Platform, tmp_path: Path) -> None:
        """Also for a service that runs already, on another port."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = other.getsockname()[1]
            env_file = self.changed(platform, tmp_path, FLOWER_PORT=str(taken))

            ran = platform.make("up", env_file)

        assert ran.returncode != 0
        assert f"Port {taken} on 127.0.0.1, wanted by flower, is in use." in ran.stdout
        assert "set FLOWER_PORT in .env" in ran.stdout


class TestStop:
    def test_leaves_everybody_time_to_finish(self, platform: Platform) -> None:
        """Exit code 137 would be a container that was killed at the end of its grace period."""
        platform.compose("stop")
        codes = {
            each["Config"]["Labels"]["com.docker.compose.service"]: each["State"]["ExitCode"]
            for each in platform.containers()
        }
        platform.compose("start")
        platform.await_health()

        assert not {service for service, code in codes.items() if code == 137}


class TestDown:
    def test_and_up_keep_the_data(self, platform: Platform, scene: Scene) -> None:
        before = scene.maker.predict(scene.model["endpoint"], scene.rows[1].features).json()
        nameless = {
            mount["Name"]
            for each in platform.containers()
            for mount in each["Mounts"]
            if mount["Type"] == "volume" and re.fullmatch("[0-9a-f]{64}", mount["Name"])
        }
        assert nameless

        assert platform.make("down").returncode == 0
        assert platform.containers() == []
        assert not nameless & set(platform.docker("volume", "ls", "--quiet").split()), (
            "caches are left behind"
        )
        assert platform.make("up").returncode == 0

        after = scene.maker.predict(scene.model["endpoint"], scene.rows[1].features).json()
        assert after["probabilities"] == before["probabilities"]

    def test_a_profile_that_is_left_out_is_stopped_by_up(self, platform: Platform, tmp_path: Path) -> None:
        kept = platform.env_file.read_text().replace(
            "COMPOSE_PROFILES=core,monitoring", "COMPOSE_PROFILES=core"
        )
        fewer = tmp_path / ".env"
        fewer.write_text(kept)

        assert platform.make("up", fewer).returncode == 0
        assert platform.containers("prometheus") == []
        assert platform.make("up").returncode == 0
        assert platform.containers("prometheus")


class TestBackup:
    def test_restores_what_was_destroyed(self, platform: Platform, scene: Scene) -> None:
        maker, endpoint = scene.maker, scene.model["endpoint"]
        rows = [row.features for row in scene.rows[:50]]
        before = body_of(maker.predict_batch(endpoint, rows, return_probabilities=True))["predictions"]
        images = [platform.containers(each)[0]["Config"]["Image"] for each in ("api-server", "ml-service")]
        taken = platform.make("backup", TO=str(platform.directory / "backups"))
        assert taken.returncode == 0, taken.stdout
        (folder,) = (platform.directory / "backups").iterdir()

        assert platform.make("clean").returncode == 0
        platform.docker("image", "rm", "--force", *set(images))
        restored = platform.make("restore", FROM=str(folder))

        assert restored.returncode == 0, restored.stdout
        platform.await_health()
        body_of(maker.log_in())
        after = body_of(maker.predict_batch(endpoint, rows, return_probabilities=True))["predictions"]
        assert [each["probabilities"] for each in after] == [each["probabilities"] for each in before]
        model = new_model(maker, scene.flights["id"], name="after the restore")
        assert trained(maker, model)["status"] == "trained"

    def test_that_has_changed_is_refused(self, platform: Platform) -> None:
        (folder,) = (platform.directory / "backups").iterdir()
        with (folder / "objects.tar").open("ab") as file:
            file.write(b"!")

        ran = platform.make("restore", FROM=str(folder))

        assert ran.returncode != 0
        assert "has changed since it was written" in ran.stdout


def test_the_documentation_names_every_command() -> None:
    page = (REPOSITORY / "docs" / "deployment.md").read_text()
    for target in ("dev-setup", "up", "health", "logs", "down", "clean", "backup", "restore", "scale-ml"):
        assert f"make {target}" in page
