"""`prepare` as whoever runs the platform sees it: a process with an exit code, lines of progress, and sentences."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.servers import servers_environment

PREPARE = [sys.executable, "-m", "api_server.cli", "prepare"]
ADMIN_PASSWORD = "correct horse battery staple"
DEMO_PASSWORD = "try it out"
Environment = dict[str, str]


@pytest.fixture
def fresh(environment: Environment) -> Environment:
    """Settings that lead to an empty database and to no bucket yet."""
    name = f"fresh_{uuid4().hex[:8]}"
    secrets = json.loads((Path(environment["PLATFORM_DATA_DIR"]) / "secrets.json").read_text())
    server = environment["DATABASE_URL"].replace("+asyncpg", "").rpartition("@")[2].rpartition("/")[0]
    admin = f"postgresql://postgres:{secrets['postgres_admin']}@{server}/postgres"
    asked(admin, f"CREATE DATABASE {name} OWNER owner")
    return {
        **environment,
        "DATABASE_URL": environment["DATABASE_URL"].replace("/platform", f"/{name}"),
        "DATABASE_OWNER_URL": environment["DATABASE_OWNER_URL"].replace("/platform", f"/{name}"),
        "S3_BUCKET": name.replace("_", "-"),
        "ADMIN_PASSWORD": ADMIN_PASSWORD,
        "DEMO_PASSWORD": DEMO_PASSWORD,
        "PREPARE_PATIENCE_SECONDS": "1",
    }


def asked(dsn: str, query: str) -> list[Any]:
    async def ask() -> list[Any]:
        connection = await asyncpg.connect(dsn)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return asyncio.run(ask())


def users(environment: Environment) -> list[Any]:
    dsn = environment["DATABASE_URL"].replace("+asyncpg", "")
    return asked(dsn, "SELECT username, email, role, password_hash FROM users ORDER BY username")


def prepare(environment: Environment, **changes: str) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        PREPARE,
        env={**os.environ, **environment, **changes},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ran.stdout + ran.stderr
    return ran


class TestPrepare:
    def test_makes_schema_bucket_and_accounts_and_says_so(self, fresh: Environment) -> None:
        ran = prepare(fresh)

        assert (ran.returncode, ran.stderr) == (0, "")
        events = [json.loads(line)["message"] for line in ran.stdout.splitlines()]
        expected = ["prepare.database_ready", "prepare.storage_ready", "prepare.account_made", "prepare.done"]
        assert [each for each in dict.fromkeys(events) if each.startswith("prepare.")] == expected
        assert [row[:3] for row in users(fresh)] == [
            ("admin", "admin@example.com", "admin"),
            ("demo", "demo@example.com", "data_scientist"),
        ]

    def test_again_leaves_what_is_there_as_it_is(self, fresh: Environment) -> None:
        prepare(fresh)
        before = users(fresh)

        again = prepare(fresh, ADMIN_PASSWORD="another password", ADMIN_EMAIL="root@example.com")

        assert again.returncode == 0
        assert "prepare.account_kept" in again.stdout
        assert users(fresh) == before

    def test_by_several_at_once_does_it_once(self, fresh: Environment) -> None:
        with ThreadPoolExecutor() as pool:
            ran = list(pool.map(lambda _: prepare(fresh), range(3)))

        assert [each.stderr for each in ran if each.returncode] == []
        assert [row[0] for row in users(fresh)] == ["admin", "demo"]

    def test_in_production_closes_the_account_that_was_for_trying_out(self, fresh: Environment) -> None:
        prepare(fresh)
        secret = {
            "JWT_SECRET": "k3y" + uuid4().hex,
            "INTERNAL_TOKEN": uuid4().hex,
            "ADMIN_PASSWORD": uuid4().hex,
        }

        ran = prepare(fresh, ENVIRONMENT="production", DEMO_PASSWORD="", **secret)

        assert ran.returncode == 0, ran.stderr
        assert "prepare.account_closed" in ran.stdout
        dsn = fresh["DATABASE_URL"].replace("+asyncpg", "")
        active = asked(dsn, "SELECT username, is_active FROM users ORDER BY username")
        assert active == [("admin", True), ("demo", False)]

    def test_of_a_database_with_one_role_says_what_that_means(self, fresh: Environment) -> None:
        ran = prepare(fresh, DATABASE_URL=fresh["DATABASE_OWNER_URL"], DATABASE_OWNER_URL="")

        assert (ran.returncode, ran.stderr) == (0, "")
        lines = [json.loads(line) for line in ran.stdout.splitlines()]
        (weak,) = [each for each in lines if each["message"] == "rights.excess"]
        assert weak["log.level"] == "warning"
        assert "only as strong as their triggers" in weak["reason"]

    def test_makes_no_account_without_a_password(self, fresh: Environment) -> None:
        assert prepare(fresh, ADMIN_PASSWORD="", DEMO_PASSWORD="").returncode == 0

        assert users(fresh) == []

    def test_waits_for_a_database_that_comes_later(self, tmp_path: Path) -> None:
        with servers_environment(tmp_path / "servers") as environment:
            pass
        patient = {**environment, "PREPARE_PATIENCE_SECONDS": "60", "ADMIN_PASSWORD": ADMIN_PASSWORD}

        said = tmp_path / "said"
        with (
            said.open("w") as file,
            subprocess.Popen(
                PREPARE, env={**os.environ, **patient}, stdout=file, stderr=subprocess.PIPE
            ) as waiting,
        ):
            while "prepare.waiting" not in said.read_text():
                assert waiting.poll() is None
                time.sleep(0.1)
            with servers_environment(tmp_path / "servers") as again:
                assert again["DATABASE_URL"] == environment["DATABASE_URL"]
                _, errors = waiting.communicate()
                made = users(environment)

        assert (waiting.returncode, errors) == (0, b"")
        assert "Traceback" not in said.read_text()
        assert [row[0] for row in made] == ["admin"]


class TestFaults:
    @pytest.mark.parametrize(
        ("setting", "pattern", "new", "sentences"),
        [
            ("DATABASE_URL", "app:", "app:wrong", ["password of DATABASE_URL", "`init-db`", "new volume"]),
            ("DATABASE_URL", "/fresh.*", "/nowhere", ["no such database", "DATABASE_URL"]),
            ("DATABASE_URL", ":[0-9]+/", ":1/", ["DATABASE_URL", "did not answer within 1 s"]),
            ("DATABASE_URL", "@[0-9.]+", "@nowhere.invalid", ["DATABASE_URL", "did not answer within 1 s"]),
            ("DATABASE_URL", "postgres.*://", "postgres", ["DATABASE_URL is no address"]),
            ("DATABASE_URL", ":[0-9]+/", ":99999/", ["DATABASE_URL is no address"]),
            ("DATABASE_URL", "/fresh.*", "/platform", ["lead to two databases", "name the same in both"]),
            (
                "DATABASE_OWNER_URL",
                "owner:",
                "owner:wrong",
                ["password of DATABASE_OWNER_URL", "no such role"],
            ),
            ("DATABASE_OWNER_URL", "postgres.*://", "postgres", ["DATABASE_OWNER_URL is no address"]),
            ("DATABASE_OWNER_URL", ":[0-9]+/", ":1/", ["DATABASE_OWNER_URL", "did not answer within 1 s"]),
            ("DATABASE_OWNER_URL", ".*", "", ["may not change the schema", "owner of the database"]),
            ("S3_SECRET_KEY", "^", "wrong", ["refuses S3_ACCESS_KEY and S3_SECRET_KEY", "SignatureDoesNot"]),
            ("S3_ACCESS_KEY", "^", "nobody", ["refuses S3_ACCESS_KEY and S3_SECRET_KEY", "InvalidAccessKey"]),
            ("S3_ENDPOINT", ":[0-9]+", ":1", ["S3_ENDPOINT", "did not answer within 1 s"]),
            ("S3_ENDPOINT", "^", "http://", ["S3_ENDPOINT: write HOST:PORT"]),
            ("ADMIN_PASSWORD", ".*", "short", ["ADMIN_PASSWORD: ", "8 characters"]),
            ("ADMIN_USERNAME", "^", "no spaces", ["ADMIN_USERNAME: letters, digits"]),
            ("ADMIN_EMAIL", "^", "demo@example.com", ["demo@example.com", "set DEMO_EMAIL"]),
        ],
    )
    def test_are_sentences_with_the_next_step(
        self, fresh: Environment, setting: str, pattern: str, new: str, sentences: list[str]
    ) -> None:
        changed = re.sub(pattern, new, fresh.get(setting, ""), count=1)

        ran = prepare(fresh, **{setting: changed})

        assert ran.returncode == 1
        for each in sentences:
            assert each in ran.stderr
        secret = fresh["DATABASE_URL"].rpartition("@")[0].rpartition(":")[2]
        assert secret not in ran.stdout + ran.stderr
        assert (
            fresh["DATABASE_OWNER_URL"].rpartition("@")[0].rpartition(":")[2] not in ran.stdout + ran.stderr
        )
        assert fresh["S3_SECRET_KEY"] not in ran.stdout + ran.stderr

    def test_of_a_schema_that_is_newer_are_told(self, fresh: Environment) -> None:
        prepare(fresh)
        owner = fresh["DATABASE_OWNER_URL"].replace("+asyncpg", "")
        asked(owner, "UPDATE alembic_version SET version_num = '9999'")

        ran = prepare(fresh)

        assert ran.returncode == 1
        assert "made by a newer one" in ran.stderr
