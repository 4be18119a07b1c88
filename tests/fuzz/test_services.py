"""Both OpenAPI documents hold, whoever calls and whatever is sent. `make soak` goes on for longer, with new values."""

import random

import httpx2
import pytest

from embedded import Platform
from tests.fuzz.fuzzing import Effort, fuzz
from tests.fuzz.judgement import NEVER_DONE, operations_of
from tests.fuzz.scene import ADMIN, ANONYMOUS, EDITOR, VIEWER, make_scene

ROOMS = ("projects", "datasets", "models", "jobs", "deployments", "predictions", "auth", "api-keys", "health")
ADMINISTRATION = ("users", "audit")
QUICK = {
    ("api", ANONYMOUS): Effort(1),
    ("api", VIEWER): Effort(1),
    ("api", EDITOR): Effort(2, covered=ROOMS),
    ("api", ADMIN): Effort(2, covered=ADMINISTRATION),
    ("ml", ANONYMOUS): Effort(5, covered=None),
    ("ml", VIEWER): Effort(5),
    ("ml", EDITOR): Effort(5),
    ("ml", ADMIN): Effort(5),
}
"""Each value of each schema is tried once, as somebody who gets as far as to be asked for it."""
SOAKING_EXAMPLES = 50


@pytest.fixture(scope="module")
def done() -> dict[str, set[str]]:
    """By service: the operations that did what they are there for, for anybody."""
    return {}


@pytest.mark.timeout(0)
@pytest.mark.parametrize(("service", "actor"), QUICK)
def test_a_service_keeps_what_it_says(
    service: str, actor: str, services: Platform, minutes: float | None, done: dict[str, set[str]]
) -> None:
    url = services.api_url if service == "api" else services.ml_url
    document = httpx2.get(f"{url}/openapi.json").json()
    effort = QUICK[service, actor] if minutes is None else _soaking(minutes)

    findings = fuzz(url, document, make_scene(services, actor), effort)

    print(f"\n{service} as {actor}, seed {effort.seed}\n{findings.table()}")
    done.setdefault(service, set()).update(findings.done)
    assert not findings.failures, findings.text()


@pytest.mark.parametrize("service", ["api", "ml"])
def test_what_is_there_was_reached(service: str, services: Platform, done: dict[str, set[str]]) -> None:
    """Where all is refused, as it would be if nothing were found, no answer is looked at."""
    if service not in done:
        pytest.skip("says something only after the runs above, and this selection leaves them out")
    url = services.api_url if service == "api" else services.ml_url
    document = httpx2.get(f"{url}/openapi.json").json()
    wanted = {
        f"{method.upper()} {path}"
        for method, path, operation in operations_of(document)
        if operation["operationId"] not in NEVER_DONE
    }

    assert wanted - done[service] == set()


def _soaking(minutes: float) -> Effort:
    seconds = round(minutes * 60 / len(QUICK))
    return Effort(SOAKING_EXAMPLES, seconds=seconds, covered=None, seed=random.getrandbits(32))
