"""Every package that the platform is said to be made of is used by code that ships, not only installed."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SHIPPED = ["api-server/src", "api-server/migrations", "ml-service/src", "platform-kit/src", "embedded"]
IMPORT_NAMES = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "sqlalchemy": "sqlalchemy",
    "asyncpg": "asyncpg",
    "alembic": "alembic",
    "pydantic": "pydantic",
    "python-jose": "jose",
    "passlib": "passlib",
    "redis": "redis",
    "celery": "celery",
    "minio": "minio",
    "scikit-learn": "sklearn",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "pandas": "pandas",
    "prometheus-client": "prometheus_client",
}


def trees() -> Iterator[ast.Module]:
    for folder in SHIPPED:
        for path in (REPOSITORY / folder).rglob("*.py"):
            yield ast.parse(path.read_text(), str(path))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def strings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.fixture(scope="module")
def names() -> set[str]:
    return {name for tree in trees() for name in imported(tree)}


@pytest.mark.parametrize("package", IMPORT_NAMES)
def test_the_package_is_imported(names: set[str], package: str) -> None:
    assert IMPORT_NAMES[package] in names


def test_flower_is_run_as_a_service() -> None:
    """It is a command of Celery: `celery ... flower`."""
    table = ast.parse((REPOSITORY / "embedded" / "services.py").read_text())

    assert {"celery", "flower"} <= set(strings(table))
