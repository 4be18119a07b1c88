"""Secrets of one data directory: made once, kept in files that only their owner can read."""

import dataclasses
import json
import secrets
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from embedded.layout import read_json, write_private


@dataclass(frozen=True)
class Secrets:
    postgres_admin: str
    postgres_owner: str
    postgres_app: str
    broker: str
    cache: str
    s3_access_key: str
    s3_secret_key: str
    internal_token: str
    jwt: str
    flower: str

    @classmethod
    def of(cls, path: Path) -> Self:
        known = read_json(path)
        made = cls(**{each.name: known.get(each.name) or _secret(each.name) for each in fields(cls)})
        if dataclasses.asdict(made) != known:
            write_private(path, json.dumps(dataclasses.asdict(made), indent=2) + "\n")
        return made


def _secret(name: str) -> str:
    """Long where only programs use it, short where a person types it."""
    return secrets.token_urlsafe(12) if name == "flower" else secrets.token_hex(32)


def update_credentials(path: Path, *, api_url: str, ml_url: str) -> dict[str, Any]:
    """Write where the platform is and who can sign in; the accounts are made the first time only."""
    users = read_json(path).get("users") or [
        _account("admin", role="admin"),
        _account("demo", role="data_scientist"),
    ]
    content = {"api_url": api_url, "ml_url": ml_url, "users": users}
    write_private(path, json.dumps(content, indent=2) + "\n")
    return content


def _account(username: str, *, role: str) -> dict[str, str]:
    return {
        "username": username,
        "email": f"{username}@example.com",
        "password": secrets.token_urlsafe(12),
        "role": role,
    }
