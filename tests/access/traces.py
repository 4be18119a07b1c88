"""What a request leaves behind: in the database, and in the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text

from api_server.database import Sessions, transaction
from api_server.tables import metadata

NOT_COUNTED = {"audit_log", "replicas"}
"""What the platform writes by itself, or about every request."""
SIGN_INS = {"sessions", "refresh_tokens"}
USES = ("last_login_at", "last_used_at", "last_used_address")
"""Columns that say that somebody was here."""


def _query(tables: Sequence[str], condition: str) -> str:
    row = "to_jsonb(each)" + "".join(f" - '{name}'" for name in USES)
    parts = [
        f"SELECT '{name}' AS name, md5(coalesce(string_agg(md5(({row})::text), '' ORDER BY md5(({row})::text)), ''))"
        f" AS hash FROM {name} AS each {condition}"
        for name in tables
    ]
    return " UNION ALL ".join(parts)


_ALL = _query(sorted(set(metadata.tables) - NOT_COUNTED), "")
_NAMING = _query(
    sorted(set(metadata.tables) - NOT_COUNTED - SIGN_INS), "WHERE to_jsonb(each)::text LIKE ANY(:patterns)"
)


async def everything(sessions: Sessions) -> dict[str, str]:
    """A fingerprint of each table: it changes with any value of any row."""
    async with transaction(sessions) as session:
        return {name: found for name, found in await session.execute(text(_ALL))}


async def rows_naming(sessions: Sessions, words: Sequence[str]) -> dict[str, str]:
    """The same over the rows that hold one of these words anywhere."""
    async with transaction(sessions) as session:
        patterns = [f"%{each}%" for each in words]
        return {name: found for name, found in await session.execute(text(_NAMING), {"patterns": patterns})}


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [name for name in after if after[name] != before.get(name)]


@dataclass(frozen=True)
class Entry:
    outcome: str
    status: int | None


async def entries(sessions: Sessions, request_ids: Sequence[str]) -> dict[str, list[Entry]]:
    """What the audit log says of each of these requests."""
    query = "SELECT request_id, outcome, status FROM audit_log WHERE request_id = ANY(:ids)"
    found: dict[str, list[Entry]] = {each: [] for each in request_ids}
    async with transaction(sessions) as session:
        for request_id, outcome, status in await session.execute(text(query), {"ids": list(request_ids)}):
            found[request_id].append(Entry(outcome, status))
    return found
