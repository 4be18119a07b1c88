"""What both services say of themselves: the OpenAPI documents, made without starting anything."""

import json
from collections import Counter
from functools import cache
from typing import Any

import pytest
from openapi_spec_validator import validate

from api_server.main import create_app as create_api_server
from api_server.settings import Settings as ApiSettings
from ml_service.app import create_app as create_ml_service
from ml_service.settings import Settings as MlSettings

STRONG = "kJ7pQx2vLm9ZtR4wYc8NbD3s"
ENVIRONMENT = {
    "DATABASE_URL": f"postgresql+asyncpg://app:{STRONG}@127.0.0.1:9/platform",
    "BROKER_URL": f"redis://:{STRONG}@127.0.0.1:9/0",
    "CACHE_URL": f"redis://:{STRONG}@127.0.0.1:9/0",
    "INTERNAL_TOKEN": f"{STRONG}-{STRONG}",
    "JWT_SECRET": f"{STRONG}+{STRONG}",
    "S3_ENDPOINT": "127.0.0.1:9",
    "S3_ACCESS_KEY": "key",
    "S3_SECRET_KEY": STRONG,
}
"""Nobody is called."""
PROBLEM = "application/problem+json"
READINESS = ("health_ready", "503")
"""Says what is not ready, in the shape of its good answer."""

Json = dict[str, Any]


@cache
def document_of(service: str) -> Json:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        if service == "api-server":
            return create_api_server(ApiSettings.from_environment()).openapi()
        return create_ml_service(MlSettings.from_environment()).openapi()


@pytest.fixture(params=["api-server", "ml-service"])
def document(request: pytest.FixtureRequest) -> Json:
    return document_of(request.param)


@pytest.fixture
def operations(document: Json) -> list[Json]:
    return [each for path in document["paths"].values() for each in path.values()]


class TestDocument:
    def test_is_valid(self, document: Json) -> None:
        validate(document)

    def test_describes_each_operation(self, document: Json, operations: list[Json]) -> None:
        known = {each["name"] for each in document["tags"]}

        for each in operations:
            assert each.get("summary"), each["operationId"]
            assert set(each["tags"]) <= known, each["operationId"]

    def test_has_each_operation_id_once(self, operations: list[Json]) -> None:
        times = Counter(each["operationId"] for each in operations)

        assert [name for name, count in times.items() if count > 1] == []

    def test_answers_errors_as_problems_alone(self, operations: list[Json]) -> None:
        others = [
            (each["operationId"], status)
            for each in operations
            for status, response in each["responses"].items()
            if status[0] in "45" and list(response.get("content", {})) != [PROBLEM]
        ]

        assert others == [READINESS]

    def test_has_no_validation_errors_of_the_framework(self, document: Json) -> None:
        assert "ValidationError" not in json.dumps(document)

    def test_says_of_every_operation_what_any_may_answer(self, operations: list[Json]) -> None:
        for each in operations:
            assert {"414", "422", "429", "503"} <= set(each["responses"]), each["operationId"]

    def test_says_of_what_takes_json_that_it_may_be_no_json(self, operations: list[Json]) -> None:
        taking = [each for each in operations if "application/json" in _content(each)]

        assert taking
        for each in taking:
            assert {"400", "413"} <= set(each["responses"]), each["operationId"]

    def test_says_of_what_needs_a_credential_that_it_may_be_refused(self, operations: list[Json]) -> None:
        needing = [each for each in operations if each.get("security")]

        assert needing
        for each in needing:
            assert "401" in each["responses"] or each["operationId"] in ANSWERS_ALL, each["operationId"]

    def test_names_a_place_for_what_was_made(self, operations: list[Json]) -> None:
        silent = {
            each["operationId"]
            for each in operations
            for status in ("201", "202")
            if status in each["responses"] and "Location" not in each["responses"][status].get("headers", {})
        }

        assert silent <= HAS_NO_PLACE


ANSWERS_ALL: set[str] = set()
"""By operation id: answers everybody with what they may see."""
HAS_NO_PLACE = {
    "auth_ask_for_reset",  # says the same whether or not there is an account
    "users_offer_reset",  # a token that is shown once
    "users_invite",  # an invitation is read in the list
}
"""By operation id."""


def _content(operation: Json) -> Json:
    found: Json = operation.get("requestBody", {}).get("content", {})
    return found
