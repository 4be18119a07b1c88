"""One run of the fuzzer over the OpenAPI document of a service, as one caller."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from hypothesis.strategies import binary, one_of, sampled_from
from schemathesis import Config
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import CheckNode, Interaction

from tests.api_server.factories import CSV
from tests.fuzz.judgement import WELL_FORMED_AND_REFUSED, rules, spares
from tests.fuzz.scene import Scene

SHOWN_CHARACTERS = 1200

Json = dict[str, Any]

FILES = (CSV, b'[{"age": 31, "target": "yes"}]', b"", b"PAR1PAR1", b"\x89PNG\r\n\x1a\n")
schemathesis.openapi.format("binary", one_of(sampled_from(FILES), binary(max_size=64)))


@dataclass(frozen=True)
class Effort:
    """examples: of each operation in a phase. seconds: go on so long with new ones; None: once through.

    covered: the tags whose operations are also gone through value by value; None: all.
    """

    examples: int
    seconds: int | None = None
    covered: tuple[str, ...] | None = ()
    seed: int = 1


@dataclass
class Findings:
    """answers: by operation and status. failures: by operation and what is wrong."""

    answers: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    seconds: float = 0.0

    def take(self, event: events.EngineEvent) -> None:
        match event:
            case events.ScenarioFinished():
                self._take_scenario(event)
            case events.NonFatalError():
                self.failures.setdefault((event.label, event.info.title), event.info.message)
            case events.FatalError():
                raise event.exception
            case events.EngineFinished():
                self.seconds = event.running_time

    def _take_scenario(self, event: events.ScenarioFinished) -> None:
        recorder = event.recorder
        for case_id, interaction in recorder.interactions.items():
            node = recorder.cases.get(case_id)
            label = node.value.operation.label if node else recorder.label
            if interaction.response is not None:
                self.answers[label][interaction.response.status_code] += 1
        for case_id, checks in recorder.checks.items():
            for check in checks:
                if check.status is Status.FAILURE:
                    self._take_failure(recorder.label, check, recorder.interactions.get(case_id))

    def _take_failure(self, label: str, check: CheckNode, interaction: Interaction | None) -> None:
        assert check.failure_info
        failure = check.failure_info.failure
        answer = interaction.response if interaction else None
        status = answer.status_code if answer is not None else "no answer"
        text = (
            f"{failure.message}\n{check.failure_info.code_sample}\n{status} {answer.text if answer else ''}"
        )
        kind = f"{check.name}: {failure.title} ({status})"
        self.failures.setdefault((failure.operation or label, kind), text[:SHOWN_CHARACTERS])

    @property
    def done(self) -> set[str]:
        return {name for name, found in self.answers.items() if any(200 <= each < 300 for each in found)}

    def table(self) -> str:
        """How often each operation was answered how: what was only ever refused was hardly looked at."""
        lines = [
            f"{operation:70} {'  '.join(f'{status}:{count}' for status, count in sorted(found.items()))}"
            for operation, found in sorted(self.answers.items())
        ]
        total = sum(sum(found.values()) for found in self.answers.values())
        return "\n".join([*lines, f"{total} requests in {self.seconds:.0f} s"])

    def text(self) -> str:
        return "\n\n".join(
            f"{operation}\n{kind}\n{text}" for (operation, kind), text in self.failures.items()
        )


def fuzz(base_url: str, document: Json, scene: Scene, effort: Effort) -> Findings:
    config = Config.from_dict({"base-url": base_url, **_config(document, scene, effort)})
    schema = schemathesis.openapi.from_dict(document, config=config)
    findings = Findings()
    for event in from_schema(schema).execute():
        findings.take(event)
    return findings


def _config(document: Json, scene: Scene, effort: Effort) -> Json:
    config: Json = {
        "seed": effort.seed,
        "continue-on-failure": True,
        "request-timeout": 20,
        "dictionaries": {name: {"values": values} for name, values in scene.known.items()},
        "parameters": _parameters(scene),
        "generation": {
            "max-examples": effort.examples,
            "deterministic": effort.seconds is None,
            "no-shrink": True,
            "allow-x00": False,  # refused wherever it stands, which tests/api_server/test_hostile_input.py sees to
            "database": "none",
            "with-security-parameters": not scene.headers,
        },
        "phases": {
            "coverage": {"unexpected-methods": ["put", "trace"]},
            "stateful": {"generation": {"max-examples": effort.examples}, "checks": _IN_A_CHAIN},
        },
        "checks": {"positive_data_acceptance": {"expected-statuses": list(WELL_FORMED_AND_REFUSED)}},
        "operations": [
            *rules(document),
            *spares(scene.spare),
            *_coverage(document, effort),
            _EVENTS,
        ],
    }
    if scene.headers:
        config["headers"] = scene.headers
    if effort.seconds is not None:
        config["max-time"] = effort.seconds
    return config


_IN_A_CHAIN: Json = {"positive_data_acceptance": {"enabled": False}}
"""What a model has not got yet, such as its dataset, is null; the fuzzer puts `None` into the next address."""
_EVENTS: Json = {"include-operation-id": "jobs_events", "request-timeout": 1, "max-stream-events": 2}
"""Of a job that waits, the stream has no end."""
LIKELY = 0.8
ONLY_IN_PATHS = ("name", "version")
"""Elsewhere these words mean something else."""


def _parameters(scene: Scene) -> Json:
    """Most of the time, a parameter is something that is there."""
    found = {}
    for name in scene.known:
        places = ("path",) if name in ONLY_IN_PATHS else ("path", "query", "body")
        for place in places:
            found[f"{place}.{name}"] = {"dictionary": name, "probability": LIKELY}
    found["path.model"] = {"dictionary": "name", "probability": LIKELY}
    return found


def _coverage(document: Json, effort: Effort) -> list[Json]:
    """Where the values of a schema are not gone through one by one."""
    if effort.covered is None:
        return []
    tags = [each["name"] for each in document["tags"] if each["name"] not in effort.covered]
    return [{"include-tag": tags, "phases": {"coverage": {"enabled": False}}}] if tags else []
