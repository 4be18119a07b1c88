"""`.env.example` is the list of settings: complete, documented, and with the defaults of the code."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from api_server.settings import Settings as ApiSettings
from ml_service.settings import Settings as MlSettings

pytestmark = pytest.mark.repository

REPOSITORY = Path(__file__).parents[2]
LINE = re.compile(r'([A-Z0-9_]+)=(?:""|(\S+)) +# (.+)')
"""An empty value is written as such: Compose would take the comment for it."""
NOT_OF_THE_SERVICES = {"WORKER_CONCURRENCY_ML"}
"""Read by whatever starts the processes."""
COMPOSE = "# --- Docker Compose"
"""Begins the sections whose names only docker-compose.yml reads."""


@pytest.fixture(scope="module")
def documented() -> dict[str, str]:
    example = (REPOSITORY / ".env.example").read_text()
    _read(example)
    return _read(example.partition(COMPOSE)[0])


def _read(part: str) -> dict[str, str]:
    lines = [line for line in part.splitlines() if line and not line.startswith("#")]
    matches = [(line, LINE.fullmatch(line)) for line in lines]
    assert not [line for line, match in matches if match is None], "NAME=default # what it is, with its unit"
    return {match[1]: match[2] or "" for _, match in matches if match}


def test_every_setting_is_documented_and_nothing_else(documented: dict[str, str]) -> None:
    fields = {*ApiSettings.model_fields, *MlSettings.model_fields}

    assert set(documented) == {name.upper() for name in fields} | NOT_OF_THE_SERVICES


@pytest.mark.parametrize("settings", [ApiSettings, MlSettings])
def test_defaults_are_those_of_the_code(
    documented: dict[str, str], settings: type[ApiSettings | MlSettings]
) -> None:
    for name, field in settings.model_fields.items():
        if field.is_required() or field.annotation is SecretStr:
            continue
        default = "" if field.default in (None, ()) else field.default
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        assert documented[name.upper()] == shown, name
