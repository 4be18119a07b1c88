"""The platform as its users run it. The tests build on one another: the later ones stop, scale and destroy things."""

import json
import re
import sys

import httpx2
import pytest

from tests.containers.memory import container_bytes
from tests.containers.platform import REPOSITORY, Platform, eventually
from tests.verify.calling import Caller
from tests.verify.loop import body_of, deploy, new_model, trained
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
            each["Name"].lstrip("/"): container_bytes(each["Id"])
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

    def test_of_what_goes_on_running_cannot_change_the_schema(self, platform: Platform) -> None:
        for service in ("api-server", "relay", "worker-general", "beat"):
            assert "_OWNER_" not in " ".join(platform.containers(service)[0]["Config"]["Env"])
        question = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        psql = ("exec", "-T", "postgres", "psql", "-U", "postgres", "-d", "mlp", "-Atc")

        assert platform.compose(*psql, question).split() == ["mlp_owner"]


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
