"""What `monitoring/` says agrees with itself, with our code, and with the tools that will read it.

Prometheus' and Alertmanager's own checkers read their files where they are installed. No Grafana and no fluent-bit is
had here: their files are held against each other, and against what our services really emit.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from _pytest.mark import ParameterSet

pytestmark = pytest.mark.repository

MONITORING = Path(__file__).parents[2] / "monitoring"
PROMETHEUS = MONITORING / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
RULE_TESTS = sorted((PROMETHEUS / "rules" / "tests").glob("*.yml"))
ALERTMANAGER = MONITORING / "alertmanager" / "alertmanager.yml"
DASHBOARDS = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
DATA_SOURCES = MONITORING / "grafana" / "provisioning" / "datasources" / "datasources.yml"
FLUENT_BIT = MONITORING / "logging" / "fluent-bit.yaml"

ALWAYS_THERE = {
    "alertmanager",
    "minio",
    "node-exporter",
    "postgres-exporter",
    "prometheus",
    "redis-broker-exporter",
    "redis-cache-exporter",
}
"""Services that run wherever Prometheus does: it is news when one of them is away."""

OF_OTHERS = {
    "Prometheus": {"up", "ALERTS"},
    "postgres-exporter": {"pg_up", "pg_stat_activity_count", "pg_settings_max_connections"},
    "redis-exporter": {"redis_up", "redis_memory_used_bytes", "redis_memory_max_bytes"},
    "node-exporter": {"node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes"},
}
"""Metrics that others export, as far as they are used here: each name was looked up in its exporter."""

OF_TARGETS = {"job", "instance"}
"""Labels that Prometheus gives to whatever it scrapes."""

BUNDLED_PARSERS = {"apache", "cri", "docker", "json", "kube-custom", "logfmt", "mongodb", "nginx"}
"""Names in the parsers file of fluent-bit's image that a parser of ours might take by mistake."""

WHAT_WE_EXPORT = """
import json
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY
from ml_service.serving import metrics
from platform_kit.plumbing.metrics import add_metrics

app = FastAPI()
add_metrics(app)
app.get("/")(lambda: {})
with TestClient(app) as client:
    client.get("/")
for metric in vars(metrics).values():
    if getattr(metric, "_labelnames", ()) and not metric._labelvalues:
        metric.labels(*metric._labelnames)
print(json.dumps([[sample.name, sorted(sample.labels)] for each in REGISTRY.collect() for sample in each.samples]))
"""

A_LINE_OF_OURS = """
import structlog
from platform_kit.plumbing.logging import set_up_logging

set_up_logging("api-server")
structlog.get_logger().info("job.claimed", attempt=2)
"""


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            yield path.name, panel
            for inner in panel.get("panels", []):
                yield path.name, inner


def graphs() -> list[tuple[str, dict[str, Any]]]:
    return [(f"{name}: {panel['title']}", panel) for name, panel in panels() if panel["type"] != "row"]


def dashboard_expressions() -> list[tuple[str, str]]:
    return [
        (name, target["expr"])
        for name, panel in graphs()
        for target in panel["targets"]
        if target["datasource"]["type"] == "prometheus"
    ]


def rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in read_yaml(path)["groups"]:
            yield from group["rules"]


def expressions() -> list[tuple[str, str]]:
    return dashboard_expressions() + [(rule["alert"], rule["expr"]) for rule in rules()]


def named(cases: list[tuple[str, Any]]) -> list[ParameterSet]:
    return [pytest.param(name, value, id=name) for name, value in cases]


def parsed(expression: str) -> promql_parser.Expr:
    tree: promql_parser.Expr = promql_parser.parse(expression.replace("$__rate_interval", "1m"))
    return tree


def selectors(expression: str) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        elif isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(parsed(expression), visit)
    return found


def names_in(expression: str) -> set[str]:
    return {selector.name for selector in selectors(expression) if selector.name}


@pytest.fixture(scope="module")
def ours() -> dict[str, set[str]]:
    """The metrics of our services with their labels, from the services' own code."""
    labels: dict[str, set[str]] = {}
    for name, of_sample in json.loads(run(sys.executable, "-c", WHAT_WE_EXPORT)):
        labels.setdefault(name, set()).update(of_sample)
    return labels


@pytest.fixture(scope="module")
def configuration() -> dict[str, Any]:
    """What fluent-bit is told."""
    loaded: dict[str, Any] = read_yaml(FLUENT_BIT)
    return loaded


class TestPrometheus:
    @pytest.mark.needs("promtool")
    def test_its_own_checker_accepts_the_configuration(self, tmp_path: Path) -> None:
        copy = tmp_path / "prometheus.yml"
        shutil.copytree(PROMETHEUS / "rules", tmp_path / "rules")
        copy.write_text(
            (PROMETHEUS / "prometheus.yml").read_text().replace("/etc/prometheus/rules", f"{tmp_path}/rules")
        )

        assert f"{len(RULES)} rule files found" in run("promtool", "check", "config", copy)

    @pytest.mark.needs("promtool")
    def test_its_own_checker_accepts_the_rules(self) -> None:
        run("promtool", "check", "rules", *RULES)

    @pytest.mark.needs("promtool")
    @pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
    def test_the_rules_fire_when_they_should(self, path: Path) -> None:
        run("promtool", "test", "rules", path)

    def test_a_job_bears_the_name_of_the_service_that_it_asks(self) -> None:
        for job in read_yaml(PROMETHEUS / "prometheus.yml")["scrape_configs"]:
            static = [target for each in job.get("static_configs", []) for target in each["targets"]]
            named = [name for each in job.get("dns_sd_configs", []) for name in each["names"]]

            assert [target.partition(":")[0] for target in static] + named == [job["job_name"]]

    def test_only_what_is_always_there_can_be_down_rather_than_absent(self) -> None:
        jobs = read_yaml(PROMETHEUS / "prometheus.yml")["scrape_configs"]

        assert {job["job_name"] for job in jobs if "static_configs" in job} == ALWAYS_THERE

    def test_an_alert_says_what_is_and_how_urgent(self) -> None:
        alerts = list(rules())

        assert alerts
        assert len({rule["alert"] for rule in alerts}) == len(alerts)
        for rule in alerts:
            assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
            assert rule["labels"]["severity"] in {"page", "ticket", "none"}, rule["alert"]

    def test_every_alert_is_tested(self) -> None:
        tests = "".join(path.read_text() for path in RULE_TESTS)

        assert [rule["alert"] for rule in rules() if rule["alert"] not in tests] == []


class TestAlertmanager:
    @pytest.mark.needs("amtool")
    def test_its_own_checker_accepts_the_configuration(self) -> None:
        run("amtool", "check-config", ALERTMANAGER)

    def test_routes_lead_to_receivers_that_exist(self) -> None:
        configuration = read_yaml(ALERTMANAGER)
        route = configuration["route"]

        receivers = {receiver["name"] for receiver in configuration["receivers"]}
        assert {each["receiver"] for each in [route, *route["routes"]]} <= receivers

    def test_alerts_that_it_names_exist(self) -> None:
        named = re.findall(r'alertname =~? "([A-Za-z|]+)"', ALERTMANAGER.read_text())

        assert named
        assert {name for each in named for name in each.split("|")} <= {rule["alert"] for rule in rules()}


class TestDashboards:
    def test_uids_of_dashboards_and_ids_of_panels_are_unique(self) -> None:
        uids = [json.loads(path.read_text())["uid"] for path in DASHBOARDS]
        ids = [(name, panel["id"]) for name, panel in panels()]

        assert uids
        assert len(set(uids)) == len(uids)
        assert len(set(ids)) == len(ids)

    @pytest.mark.parametrize(("name", "panel"), named(graphs()))
    def test_a_panel_says_what_it_shows_in_which_unit(self, name: str, panel: dict[str, Any]) -> None:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]

    @pytest.mark.parametrize(("name", "panel"), named(graphs()))
    def test_a_panel_asks_data_sources_that_are_provisioned(self, name: str, panel: dict[str, Any]) -> None:
        types = {each["uid"]: each["type"] for each in read_yaml(DATA_SOURCES)["datasources"]}

        for source in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
            assert types[source["uid"]] == source["type"]

    @pytest.mark.parametrize(("name", "expression"), named(dashboard_expressions()))
    def test_a_rate_is_over_the_interval_that_fits_the_zoom(self, name: str, expression: str) -> None:
        assert set(re.findall(r"\[([^\]]+)\]", expression)) <= {"$__rate_interval"}

    def test_data_sources_have_one_uid_each_and_no_secret_of_their_own(self) -> None:
        sources = read_yaml(DATA_SOURCES)["datasources"]

        assert len({source["uid"] for source in sources}) == len(sources)
        for source in sources:
            for value in source.get("secureJsonData", {}).values():
                assert re.fullmatch(r"\$[A-Z_]+", value)


class TestExpressions:
    @pytest.mark.parametrize(("name", "expression"), named(expressions()))
    def test_every_metric_is_one_that_somebody_exports(
        self, name: str, expression: str, ours: dict[str, set[str]]
    ) -> None:
        assert names_in(expression) - set(ours) - set().union(*OF_OTHERS.values()) == set()

    @pytest.mark.parametrize(("name", "expression"), named(expressions()))
    def test_labels_of_our_metrics_exist(self, name: str, expression: str, ours: dict[str, set[str]]) -> None:
        if not names_in(expression) <= set(ours):
            return
        known = OF_TARGETS.union(*(ours[metric] for metric in names_in(expression)))

        grouped = [
            label for each in re.findall(r"\bby \(([^)]*)\)", expression) for label in each.split(", ")
        ]
        matched = [
            matcher.name for selector in selectors(expression) for matcher in selector.matchers.matchers
        ]
        assert {*grouped, *matched} <= known

    def test_the_list_of_others_metrics_holds_no_more_than_is_used(self) -> None:
        used = set().union(*(names_in(expression) for _, expression in expressions()))

        assert set().union(*OF_OTHERS.values()) - used == set()


class TestFluentBit:
    def test_it_needs_no_other_file(self) -> None:
        assert not re.search(
            r"\b(parsers_file|plugins_file|streams_file|script|includes)\b", FLUENT_BIT.read_text()
        )

    def test_parsers_are_defined_under_names_of_their_own(self, configuration: dict[str, Any]) -> None:
        defined = {parser["name"] for parser in configuration["parsers"]}
        used = {each["parser"] for each in configuration["pipeline"]["filters"] if "parser" in each}

        assert used == defined
        assert not defined & BUNDLED_PARSERS

    def test_it_takes_two_things_from_the_environment(self) -> None:
        assert set(re.findall(r"\$\{(\w+)\}", FLUENT_BIT.read_text())) == {
            "COMPOSE_PROJECT_NAME",
            "ELASTIC_PASSWORD",
        }

    def test_every_filter_and_output_sees_what_the_input_reads(self, configuration: dict[str, Any]) -> None:
        pipeline = configuration["pipeline"]
        tags = {each["tag"] for each in pipeline["inputs"]}

        assert {each["match"] for each in [*pipeline["filters"], *pipeline["outputs"]]} == tags

    def test_a_line_of_our_services_is_recognized(self, configuration: dict[str, Any]) -> None:
        line = run(sys.executable, "-c", A_LINE_OF_OURS)
        (condition,) = (
            each["condition"] for each in configuration["pipeline"]["filters"] if "condition" in each
        )

        assert re.match(condition.removeprefix("Key_Value_Matches log "), line)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", json.loads(line)["@timestamp"])

    def test_what_it_writes_is_what_grafana_and_kibana_read(self, configuration: dict[str, Any]) -> None:
        (output,) = configuration["pipeline"]["outputs"]
        (source,) = (
            each for each in read_yaml(DATA_SOURCES)["datasources"] if each["uid"] == "elasticsearch"
        )
        setup = (FLUENT_BIT.parent / "setup.py").read_text()

        pattern = source["jsonData"]["index"]
        assert output["index"].startswith(pattern.removesuffix("*"))
        assert re.fullmatch(r"logs-[a-z.]+-[a-z]+", output["index"])
        assert f'DATA_STREAMS = "{pattern}"' in setup
        assert output["write_operation"] == "create"
