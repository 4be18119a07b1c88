"""The embedded servers alone, for tests that run a service in their own process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded import Platform

SECRETS = {
    "INTERNAL_TOKEN": "an internal token for tests only",
    "JWT_SECRET": "a signing key for tests only, of 32 bytes or more",
}


@contextmanager
def servers_environment(data_dir: Path) -> Iterator[dict[str, str]]:
    """Start Postgres, broker, cache and S3; yields the settings that lead to them."""
    with Platform(data_dir, services=()) as platform:
        yield {**platform.env, **SECRETS}
