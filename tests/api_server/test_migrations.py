"""The migrations make what the models say, and let dashboards read what is nobody's secret."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from alembic.config import Config

from api_server.cli import ALEMBIC_INI
from api_server.settings import Settings

READABLE = {
    *(
        "users",
        "projects",
        "datasets",
        "dataset_versions",
        "job_attempts",
        "jobs",
        "models",
        "model_versions",
        "deployments",
    ),
    *("api_keys", "audit_log", "platform_figures"),
}
HOLD_ROWS_OF_USERS = {
    *("dataset_versions.columns", "dataset_versions.statistics", "dataset_versions.preview"),
    *("dataset_versions.key", "dataset_versions.error", "dataset_versions.file_name", "models.error"),
    *(
        "jobs.request",
        "jobs.result",
        "jobs.error",
        "jobs.progress",
        "model_versions.manifest",
        "job_attempts.error",
    ),
    *("projects.config", "deployments.config", "users.email", "users.password_hash", "users.username"),
    *("api_keys.sha256", "api_keys.prefix", "audit_log.details", "audit_log.address", "audit_log.username"),
}
COLUMNS = """
SELECT table_name || '.' || column_name FROM information_schema.columns
WHERE table_schema = 'public'
AND has_column_privilege('mlp_grafana', (table_schema || '.' || table_name)::regclass, column_name, 'SELECT')
"""


class Administrator:
    """The superuser, on the database of the tests."""

    def __init__(self, environment: dict[str, str]) -> None:
        secrets = json.loads((Path(environment["PLATFORM_DATA_DIR"]) / "secrets.json").read_text())
        server = environment["DATABASE_URL"].rpartition("@")[2]
        self._dsn = f"postgresql://postgres:{secrets['postgres_admin']}@{server}"

    def ask(self, *statements: str) -> set[str]:
        """The first column of what the last statement finds."""
        return asyncio.run(self._ask(statements))

    async def _ask(self, statements: tuple[str, ...]) -> set[str]:
        connection = await asyncpg.connect(self._dsn)
        try:
            for each in statements[:-1]:
                await connection.execute(each)
            return {row[0] for row in await connection.fetch(statements[-1])}
        finally:
            await connection.close()


@pytest.fixture
def alembic(settings: Settings) -> Config:
    return Config(ALEMBIC_INI)


@pytest.fixture
def administrator(settings: Settings, environment: dict[str, str]) -> Iterator[Administrator]:
    """The role of the dashboards is there while the test runs."""
    administrator = Administrator(environment)
    administrator.ask("CREATE ROLE mlp_grafana LOGIN PASSWORD 'only for tests'", "SELECT 1")
    yield administrator
    administrator.ask("DROP OWNED BY mlp_grafana", "DROP ROLE mlp_grafana", "SELECT 1")


def test_make_what_the_models_say(alembic: Config) -> None:
    command.check(alembic)


class TestDashboards:
    @pytest.fixture
    def readable(self, alembic: Config, administrator: Administrator) -> set[str]:
        command.downgrade(alembic, "0001")
        command.upgrade(alembic, "head")
        return administrator.ask(COLUMNS)

    def test_read_the_tables_that_they_show(self, readable: set[str]) -> None:
        assert {each.partition(".")[0] for each in readable} == READABLE
        assert {"jobs.status", "models.deployed_version", "deployments.deployed_at"} <= readable

    def test_see_of_an_account_only_that_it_is_there(self, readable: set[str]) -> None:
        of_users = {each for each in readable if each.startswith("users.")}

        assert of_users == {"users.id", "users.role", "users.is_active", "users.created_at"}

    def test_see_nothing_of_what_users_have_stored(self, readable: set[str]) -> None:
        assert readable.isdisjoint(HOLD_ROWS_OF_USERS)

    def test_read_nothing_after_a_downgrade(
        self, alembic: Config, administrator: Administrator, readable: set[str]
    ) -> None:
        command.downgrade(alembic, "0001")
        left = administrator.ask(COLUMNS)
        command.upgrade(alembic, "head")

        assert left == set()

    def test_can_do_nothing_but_read(self, administrator: Administrator, readable: set[str]) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            administrator.ask("SET ROLE mlp_grafana", "DELETE FROM jobs", "SELECT 1")
        assert administrator.ask("SET ROLE mlp_grafana", "SELECT count(*) FROM jobs") is not None


class TestHistoryOfPredictions:
    OLD_USER = (
        "INSERT INTO users (id, email, username, password_hash, role, is_active, revision)"
        " VALUES ('00000000-0000-4000-8000-000000000001', 'old@example.com', 'old', 'x', 'user', true, 1)"
    )
    OLD_ANSWERS = (
        '{"prediction": "yes", "confidence_score": 0.75, "metadata": {"warnings": [{"code": "out_of_range"}]}}',
        '{"prediction": 12.5, "confidence_score": null, "metadata": {"warnings": []}}',
        '{"prediction": true, "confidence_score": 1, "metadata": {"warnings": []}}',
    )

    def test_is_found_by_what_answers_of_before_say(
        self, alembic: Config, administrator: Administrator
    ) -> None:
        answers = ", ".join(
            f"(gen_random_uuid(), '00000000-0000-4000-8000-000000000001', 'm', 1, '{{}}', '{each}')"
            for each in self.OLD_ANSWERS
        )
        insert = "INSERT INTO predictions (id, user_id, model_id, model_version, input_data, answer) VALUES "
        command.downgrade(alembic, "0005")
        administrator.ask(self.OLD_USER, insert + answers, "SELECT 1")
        command.upgrade(alembic, "0006")

        found = administrator.ask(
            "SELECT concat_ws(' ', prediction, coalesce(confidence::text, 'none'), is_warned) FROM predictions"
        )

        assert found == {"yes 0.75 t", "12.5 none f", "true 1 f"}
        command.upgrade(alembic, "head")
        administrator.ask("TRUNCATE users CASCADE", "SELECT 1")
