"""Prepares Elasticsearch and Kibana for the platform's logs. Runs once after them, and may run again at any time.

The order matters: Kibana can log in to Elasticsearch only when the user kibana_system has its password, so that is set
first and Kibana is waited for last. Needs nothing but Python's standard library.
"""

import base64
import http.client
import json
import os
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

POLICY = "mlp-logs"
DATA_VIEW = "mlp-logs"
DATA_STREAMS = "logs-mlp.*"
ANSWER_SECONDS = 30
PAUSE_SECONDS = 2.0
REFUSAL_SECONDS = 15
"""While Elasticsearch reads its own users from disk it refuses right passwords too."""
UNREACHABLE = 0


class SetupError(Exception):
    """A sentence for the operator: what is, and what to do."""


@dataclass(frozen=True)
class Settings:
    elasticsearch_url: str
    kibana_url: str
    elastic_password: str
    kibana_password: str
    retention_days: int
    patience_seconds: float


@dataclass(frozen=True)
class Server:
    name: str
    service: str
    url: str
    password: str
    patience_seconds: float


@dataclass(frozen=True)
class Call:
    purpose: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    status: int
    text: str

    @property
    def reason(self) -> str:
        """What Elasticsearch and Kibana say in words, each in its own place."""
        try:
            body = json.loads(self.text)
            said = body["message"] if "message" in body else body["error"]["reason"]
        except (ValueError, KeyError, TypeError):
            said = self.text[:200].strip()
        return f"{self.status}: {said}" if self.status else str(said)


def main() -> int:
    try:
        settings = read_settings(os.environ)
        prepare_elasticsearch(settings)
        prepare_kibana(settings)
    except SetupError as error:
        sys.stderr.write(f"{without_secrets(str(error), os.environ)}\n")
        return 1
    return 0


def read_settings(environment: Mapping[str, str]) -> Settings:
    return Settings(
        elasticsearch_url=environment.get("ELASTICSEARCH_URL", "http://elasticsearch:9200").rstrip("/"),
        kibana_url=environment.get("KIBANA_URL", "http://kibana:5601").rstrip("/"),
        elastic_password=required(environment, "ELASTIC_PASSWORD"),
        kibana_password=required(environment, "KIBANA_PASSWORD"),
        retention_days=positive(environment, "LOG_RETENTION_DAYS", default=7),
        patience_seconds=positive(environment, "SETUP_PATIENCE_SECONDS", default=300),
    )


def required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SetupError(
            f"{name} is not set: put a password of at least six characters into .env under this name."
        )
    return value


def positive(environment: Mapping[str, str], name: str, *, default: int) -> int:
    value = environment.get(name) or str(default)
    if not value.isdecimal() or int(value) < 1:
        raise SetupError(f"{name} is {value!r}, which is not a whole number above 0: correct it in .env.")
    return int(value)


def prepare_elasticsearch(settings: Settings) -> None:
    server = Server(
        name="Elasticsearch",
        service="elasticsearch",
        url=settings.elasticsearch_url,
        password=settings.elastic_password,
        patience_seconds=settings.patience_seconds,
    )
    perform(server, Call("tell its health", "GET", "/_cluster/health?wait_for_status=yellow&timeout=5s"))
    say("Elasticsearch answers.")
    perform(server, kibana_password(settings.kibana_password))
    say("The user kibana_system has its password.")
    perform(server, retention_policy(settings.retention_days))
    say(
        f"The policy {POLICY} begins a new index each day or gigabyte, and deletes the old one "
        f"{settings.retention_days} days later."
    )
    perform(server, index_settings())
    say(
        f"The component template logs@custom puts new indices of logs under the policy {POLICY}, without replicas."
    )


def prepare_kibana(settings: Settings) -> None:
    server = Server(
        name="Kibana",
        service="kibana",
        url=settings.kibana_url,
        password=settings.elastic_password,
        patience_seconds=settings.patience_seconds,
    )
    perform(server, Call("tell its status", "GET", "/api/status"))
    say("Kibana answers.")
    perform(server, data_view())
    say(f"The data view {DATA_VIEW} shows {DATA_STREAMS}.")


def kibana_password(password: str) -> Call:
    path = "/_security/user/kibana_system/_password"
    return Call("set the password of kibana_system", "POST", path, {"password": password})


def retention_policy(days: int) -> Call:
    """The age counts from the moment when an index is no longer written to."""
    phases = {
        "hot": {
            "min_age": "0ms",
            "actions": {"rollover": {"max_age": "1d", "max_primary_shard_size": "1gb"}},
        },
        "delete": {"min_age": f"{days}d", "actions": {"delete": {}}},
    }
    return Call(f"store the policy {POLICY}", "PUT", f"/_ilm/policy/{POLICY}", {"policy": {"phases": phases}})


def index_settings() -> Call:
    """`logs@custom` is the place that the built-in template of logs-*-* leaves to its user."""
    index = {"number_of_replicas": 0, "lifecycle": {"name": POLICY}}
    template = {"template": {"settings": {"index": index}}}
    return Call(
        "store the component template logs@custom", "PUT", "/_component_template/logs@custom", template
    )


def data_view() -> Call:
    view = {
        "id": DATA_VIEW,
        "name": "Logs of the platform",
        "title": DATA_STREAMS,
        "timeFieldName": "@timestamp",
        "allowNoIndex": True,
    }
    body = {"override": True, "refresh_fields": False, "data_view": view}
    return Call(f"store the data view {DATA_VIEW}", "POST", "/api/data_views/data_view", body)


def perform(server: Server, call: Call) -> None:
    answer = ask_patiently(server, call)
    if answer.status == HTTPStatus.OK:
        return
    again = "then start again: docker compose up logging-setup (it may run any number of times)."
    if answer.status == HTTPStatus.UNAUTHORIZED:
        raise SetupError(
            f"{server.name} refuses the password of the user elastic: ELASTIC_PASSWORD in .env is not the one that "
            f"Elasticsearch was first started with. Put that one there, {again}"
        )
    if is_not_yet(answer):
        raise SetupError(
            f"{server.name} at {server.url} is not ready after {server.patience_seconds:g} seconds ({answer.reason}). "
            f"Look for the cause with: docker compose logs {server.service}; {again}"
        )
    raise SetupError(
        f"{server.name} refused to {call.purpose} ({answer.reason}). "
        f"Correct what it names, or look further with: docker compose logs {server.service}; {again}"
    )


def ask_patiently(server: Server, call: Call) -> Answer:
    began = time.monotonic()
    while True:
        answer = ask(server, call)
        if time.monotonic() - began >= patience_with(answer, server.patience_seconds):
            return answer
        time.sleep(min(PAUSE_SECONDS, server.patience_seconds / 20))


def patience_with(answer: Answer, seconds: float) -> float:
    if is_not_yet(answer):
        return seconds
    return min(seconds, REFUSAL_SECONDS) if answer.status == HTTPStatus.UNAUTHORIZED else 0


def is_not_yet(answer: Answer) -> bool:
    busy = (UNREACHABLE, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
    return answer.status in busy or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR


def ask(server: Server, call: Call) -> Answer:
    credentials = base64.b64encode(f"elastic:{server.password}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - the address is the operator's own setting
        server.url + call.path,
        data=None if call.body is None else json.dumps(call.body).encode(),
        method=call.method,
        headers={
            "Authorization": f"Basic {credentials}",
            "Content-Type": "application/json",
            "kbn-xsrf": "logging-setup",  # Kibana refuses writes without it, whatever its value
        },
    )
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), EveryAnswer)
    try:
        with direct.open(request, timeout=ANSWER_SECONDS) as response:
            return Answer(response.status, response.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        return Answer(UNREACHABLE, str(error))


class EveryAnswer(urllib.request.HTTPErrorProcessor):
    """An answer is an answer, whatever its status; nothing is followed elsewhere."""

    def http_response(
        self, request: urllib.request.Request, response: http.client.HTTPResponse
    ) -> http.client.HTTPResponse:
        return response

    https_response = http_response


def say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def without_secrets(text: str, environment: Mapping[str, str]) -> str:
    """Servers quote what they refuse."""
    for name in ("ELASTIC_PASSWORD", "KIBANA_PASSWORD"):
        secret = environment.get(name)
        text = text.replace(secret, f"({name})") if secret else text
    return text


if __name__ == "__main__":
    sys.exit(main())
