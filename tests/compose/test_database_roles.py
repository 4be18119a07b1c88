"""Who owns the database of the containers, and that it stays so: on a new volume, on one from before, after a restore.

Postgres is real, and set up by init-db; only the containers around the programs are missing.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import URL, make_url

from compose import backup
from compose.engine import Compose
from compose.environment import Environment, write
from embedded.servers import Binaries
from tests.servers import servers_environment

REPOSITORY = Path(__file__).parents[2]
OWNERS = """
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace
AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
UNION SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'public'
UNION SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'mlp'
UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
"""
AS_BEFORE = (
    "REASSIGN OWNED BY mlp_owner TO mlp_app",
    "REVOKE ALL ON DATABASE mlp FROM mlp_owner",
    "DROP ROLE mlp_owner",
)


class Server:
    """The Postgres of a Compose platform, as its roles reach it."""

    def __init__(self, servers: dict[str, str], env_file: Path) -> None:
        write(env_file)
        self.environment = Environment(env_file, shell={})
        self._address = make_url(servers["DATABASE_URL"]).set(database="mlp")
        self.settings = {
            **servers,
            "DATABASE_URL": self.url("mlp_app"),
            "DATABASE_OWNER_URL": self.url("mlp_owner"),
            "ADMIN_PASSWORD": self.environment.get("ADMIN_PASSWORD"),
            "PREPARE_PATIENCE_SECONDS": "1",
        }

    def url(self, role: str) -> str:
        names = {
            "mlp_owner": "POSTGRES_OWNER_PASSWORD",
            "mlp_app": "POSTGRES_APP_PASSWORD",
            "mlp_grafana": "GRAFANA_DB_PASSWORD",
        }
        return _shown(self._address.set(username=role, password=self.environment.get(names[role])))

    def ask(self, role: str, *statements: str) -> list[Any]:
        """What the last one finds, in its first column. Without a role: as the superuser."""
        return asyncio.run(self._ask(role, statements))

    async def _ask(self, role: str, statements: tuple[str, ...]) -> list[Any]:
        dsn = self.url(role).replace("+asyncpg", "") if role else None
        connection = await asyncpg.connect(dsn, database="mlp")
        try:
            for each in statements[:-1]:
                await connection.execute(each)
            return [row[0] for row in await connection.fetch(statements[-1])]
        finally:
            await connection.close()

    def prepare(self) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "api_server.cli", "prepare"]
        return subprocess.run(
            command, env={**os.environ, **self.settings}, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Set up by init-db, and prepared; psql and its kin reach it as they do inside the container."""
    directory = tmp_path_factory.mktemp("compose")
    with servers_environment(directory / "servers") as servers, pytest.MonkeyPatch.context() as patch:
        secrets = json.loads((Path(servers["PLATFORM_DATA_DIR"]) / "secrets.json").read_text())
        address = make_url(servers["DATABASE_URL"])
        patch.setenv("PATH", f"{Binaries.find().postgres}:{os.environ['PATH']}")
        patch.setenv("PGHOST", str(address.host))
        patch.setenv("PGPORT", str(address.port))
        patch.setenv("PGUSER", "postgres")
        patch.setenv("PGPASSWORD", secrets["postgres_admin"])
        server = Server(servers, directory / ".env")
        environment = {**os.environ, **server.environment.file}
        subprocess.run([REPOSITORY / "init-db" / "10-roles.sh"], env=environment, check=True)
        assert server.prepare().returncode == 0
        yield server


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def assert_right(server: Server) -> None:
    assert server.ask("", OWNERS) == ["mlp_owner"]
    assert server.ask("mlp_app", "SELECT username FROM users WHERE role = 'admin'") == ["admin"]
    assert server.ask("mlp_grafana", "SELECT role FROM users") == ["admin"]
    for role in ("mlp_app", "mlp_grafana"):
        for statement in ("CREATE TABLE more (id integer)", "DROP TABLE users", "TRUNCATE users"):
            with pytest.raises(asyncpg.PostgresError, match=r"must be owner|permission denied|read-only"):
                server.ask(role, statement)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        server.ask("mlp_grafana", "SELECT email FROM users")


def test_a_new_volume_belongs_to_the_owner(server: Server) -> None:
    assert_right(server)


class TestVolumeOfBefore:
    def documented(self) -> list[str]:
        """The statements of the documentation, as an administrator types them."""
        page = (REPOSITORY / "docs" / "deployment.md").read_text()
        found = re.search(r"A volume from before.+?```sql\n(.+?)```", page, re.DOTALL)
        assert found
        return found[1].splitlines()

    def test_is_told_what_to_do_and_does_well_after_it(self, server: Server) -> None:
        server.ask("", *AS_BEFORE)

        told = server.prepare()
        password = f"ALTER ROLE mlp_owner PASSWORD '{server.environment.get('POSTGRES_OWNER_PASSWORD')}'"
        server.ask("", *(password if each.startswith("\\password") else each for each in self.documented()))
        prepared = server.prepare()

        assert told.returncode == 1
        assert "POSTGRES_OWNER_PASSWORD" in told.stderr
        assert '"Database roles"' in told.stderr
        assert prepared.returncode == 0, prepared.stderr
        assert_right(server)


class TestRestore:
    @pytest.fixture
    def compose(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> Compose:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        return Compose((sys.executable, "-m", "tests.compose.engine_here"), server.environment)

    def test_gives_everybody_what_was_theirs(self, server: Server, compose: Compose, tmp_path: Path) -> None:
        folder = backup.take(compose, tmp_path / "backups")
        server.ask("mlp_owner", "DELETE FROM users", "GRANT ALL ON users TO mlp_app", "SELECT 1")

        backup.restore(compose, folder)

        assert_right(server)

    def test_of_a_backup_from_before_gives_all_to_the_owner(
        self, server: Server, compose: Compose, tmp_path: Path
    ) -> None:
        server.ask("", "REASSIGN OWNED BY mlp_owner TO mlp_app")
        folder = backup.take(compose, tmp_path / "backups")
        server.ask("", "REASSIGN OWNED BY mlp_app TO mlp_owner", "GRANT CONNECT ON DATABASE mlp TO mlp_app")

        backup.restore(compose, folder)

        assert_right(server)
