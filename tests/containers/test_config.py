"""What Compose itself says of the file. Starts nothing."""

import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose.engine import find
from compose.environment import PROFILES, write
from tests.containers.platform import REPOSITORY

COMBINATIONS = [
    combination
    for size in range(1, len(PROFILES) + 1)
    for combination in itertools.combinations(PROFILES, size)
]


@pytest.fixture(scope="module")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("environment") / ".env"
    write(path)
    return path


def config(env_file: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*find(), "--env-file", str(env_file), *options, "config", "--format", "json"],
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("profiles", COMBINATIONS, ids="+".join)
def test_every_combination_of_profiles_is_valid(env_file: Path, profiles: tuple[str, ...]) -> None:
    ran = config(env_file, COMPOSE_PROFILES=",".join(profiles))

    assert ran.returncode == 0, ran.stderr
    chosen = set(json.loads(ran.stdout)["services"])
    file: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    assert chosen == {name for name, each in file["services"].items() if each["profiles"][0] in profiles}


def test_a_missing_secret_is_named_with_the_way_to_one(env_file: Path, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(env_file.read_text().replace("JWT_SECRET=", "WAS="))

    ran = config(path, COMPOSE_PROFILES="core")

    assert ran.returncode != 0
    assert "JWT_SECRET" in ran.stderr
    assert "make dev-setup" in ran.stderr


def test_the_documented_way_to_secrets_in_files_works(env_file: Path, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "deployment.md").read_text()
    override = tmp_path / "override.yml"
    override.write_text(page.split("```yaml\n")[1].split("```")[0])

    files = ("--project-directory", str(REPOSITORY), "-f", "docker-compose.yml", "-f", str(override))
    ran = config(env_file, *files, COMPOSE_PROFILES="core")

    assert ran.returncode == 0, ran.stderr
    api = json.loads(ran.stdout)["services"]["api-server"]
    assert api["environment"]["JWT_SECRET_FILE"] == "/run/secrets/jwt"
    assert "JWT_SECRET" not in api["environment"]
    assert api["secrets"][0]["source"] == "jwt"


def test_a_copy_of_the_example_with_secrets_is_a_valid_environment(env_file: Path, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text((REPOSITORY / ".env.example").read_text() + env_file.read_text())

    ran = config(path)

    assert ran.returncode == 0, ran.stderr
    services = json.loads(ran.stdout)["services"]
    assert services["api-server"]["environment"]["S3_ENDPOINT"] == "minio:9000"
    assert services["api-server"]["environment"]["DATABASE_URL"].startswith("postgresql+asyncpg://mlp_app:")
