"""The table of services: who may see which setting, and who waits for whom."""

from pathlib import Path

import pytest

from embedded.credentials import Secrets
from embedded.layout import Layout
from embedded.recipe import Recipe
from embedded.servers import SERVERS
from embedded.services import SERVICES, Addresses, inherited, services

ADDRESSES = Addresses(api_host="0.0.0.0", api_port=8000, ml_host="127.0.0.1", ml_port=8001)
PORTS = {"postgres": 1, "redis-broker": 2, "redis-cache": 3, "s3": 4, "flower": 5}
ML_FAMILY = {"ml-service", "worker-ml", "worker-data", "workers-consume"}


@pytest.fixture
def recipes(tmp_path: Path) -> dict[str, Recipe]:
    table = services(Layout(tmp_path), Secrets.of(tmp_path / "secrets.json"), PORTS, ADDRESSES)
    return {recipe.name: recipe for recipe in table}


def test_every_service_is_named(recipes: dict[str, Recipe]) -> None:
    assert set(recipes) == set(SERVICES)


def test_only_the_api_s_own_processes_may_enter_the_database(recipes: dict[str, Recipe]) -> None:
    credentials = {"DATABASE_URL", "JWT_SECRET"}

    for name, recipe in recipes.items():
        assert credentials.isdisjoint(recipe.environment) is (name in ML_FAMILY), name


def test_only_migrations_may_change_the_schema(recipes: dict[str, Recipe]) -> None:
    assert {name for name, recipe in recipes.items() if "DATABASE_OWNER_URL" in recipe.environment} == {
        "migrate"
    }


def test_credentials_of_the_shell_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere")
    monkeypatch.setenv("DATABASE_OWNER_URL", "postgresql://somewhere")
    monkeypatch.setenv("PGPASSWORD", "of another database")
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")

    passed_on = inherited()

    assert {"DATABASE_URL", "DATABASE_OWNER_URL", "PGPASSWORD"}.isdisjoint(passed_on)
    assert passed_on["LOG_LEVEL"] == "DEBUG"


def test_this_machine_is_never_reached_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "example.com")

    assert inherited()["NO_PROXY"] == "example.com,127.0.0.1,localhost"


def test_all_addresses_is_reached_by_one(recipes: dict[str, Recipe]) -> None:
    settings = recipes["ml-service"].environment

    assert settings["API_INTERNAL_URL"] == "http://127.0.0.1:8000"
    assert recipes["api-server"].environment["API_HOST"] == "0.0.0.0"


def test_what_is_needed_stands_before_and_no_circle_is_closed(recipes: dict[str, Recipe]) -> None:
    seen = set(SERVERS)
    for recipe in recipes.values():
        assert seen.issuperset(recipe.needs), recipe.name
        seen.add(recipe.name)


def test_secrets_are_on_no_command_line(recipes: dict[str, Recipe], tmp_path: Path) -> None:
    secrets = Secrets.of(tmp_path / "secrets.json")

    lines = " ".join(word for recipe in recipes.values() for word in recipe.command)
    assert not [value for value in vars(secrets).values() if value in lines]
