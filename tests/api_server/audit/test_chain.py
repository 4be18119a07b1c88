"""The audit log: written with the deed, refused to change, and telling when somebody with more rights did."""

import asyncio
from typing import Any

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from api_server.audit import service
from api_server.audit.service import ChainBroken, Head
from api_server.audit_trail import GENESIS, PLATFORM, AuditEntry, Deed, record
from api_server.database import AsyncSession, Sessions, before_commit, transaction

STATEMENTS = ["UPDATE audit_log SET username = 'eve'", "DELETE FROM audit_log", "TRUNCATE audit_log"]
COLUMNS = [each.name for each in AuditEntry.__table__.columns]


class Fault(Exception):
    """What goes wrong after a deed."""


async def write(sessions: Sessions, number: int = 1, **details: Any) -> None:
    async with transaction(sessions) as session:
        for _ in range(number):
            record(session, PLATFORM, Deed("test:write", "thing", "1", details=details))


async def execute(sessions: Sessions, statement: str) -> None:
    async with transaction(sessions) as session:
        await session.execute(text(statement))


async def tamper(sessions: Sessions, statement: str) -> None:
    """As the owner of the table could, by taking its guards away first."""
    async with transaction(sessions) as session:
        await session.execute(text("ALTER TABLE audit_log DISABLE TRIGGER USER"))
        await session.execute(text(statement))
        await session.execute(text("ALTER TABLE audit_log ENABLE TRIGGER USER"))


class TestRecord:
    async def test_writes_nothing_when_the_deed_is_not_done(self, sessions: Sessions) -> None:
        async def fail() -> None:
            async with transaction(sessions) as session:
                record(session, PLATFORM, Deed("test:write"))
                raise Fault

        with pytest.raises(Fault):
            await fail()

        assert await service.verify(sessions) == Head(0, GENESIS)

    async def test_says_in_the_log_only_what_was_committed(self, sessions: Sessions) -> None:
        async def fail(session: AsyncSession) -> None:
            raise Fault

        async def write_and_fail() -> None:
            async with transaction(sessions) as session:
                record(session, PLATFORM, Deed("test:write"))
                before_commit(session, fail)

        with structlog.testing.capture_logs() as said:
            with pytest.raises(Fault):
                await write_and_fail()
            await write(sessions)

        appended = [each["seq"] for each in said if each["event"] == "audit.appended"]
        assert appended == [(await service.verify(sessions)).seq] == [1]

    async def test_by_many_at_once_makes_one_chain(self, sessions: Sessions) -> None:
        await asyncio.gather(*(write(sessions, 3) for _ in range(20)))

        assert (await service.verify(sessions)).seq == 60

    async def test_keeps_what_it_was_told(self, sessions: Sessions) -> None:
        await write(sessions, name='Zoë "quoted"', numbers=[1, 2.5, None], nested={"b": 1, "a": {}})

        assert (await service.verify(sessions)).seq == 1


class TestVerify:
    @pytest.mark.parametrize(
        ("statement", "seq"),
        [
            ("UPDATE audit_log SET username = 'eve' WHERE seq = 3", 3),
            ("UPDATE audit_log SET details = '{\"a\": 1}' WHERE seq = 2", 2),
            ("UPDATE audit_log SET created_at = created_at - interval '1 microsecond' WHERE seq = 5", 5),
            ("DELETE FROM audit_log WHERE seq = 4", 3),
            ("DELETE FROM audit_log WHERE seq = 1", 0),
            ("UPDATE audit_log SET hash = repeat('0', 64) WHERE seq = 2", 2),
            ("UPDATE audit_log SET seq = seq + 1 WHERE seq = 5", 4),
        ],
    )
    async def test_finds_what_was_changed(
        self, sessions: Sessions, owner_sessions: Sessions, statement: str, seq: int
    ) -> None:
        await write(sessions, 5)
        await tamper(owner_sessions, statement)

        with pytest.raises(ChainBroken, match=rf"\b{seq}\b"):
            await service.verify(sessions)

    async def test_finds_an_end_cut_off_when_told_what_was_there(
        self, sessions: Sessions, owner_sessions: Sessions
    ) -> None:
        await write(sessions, 5)
        head = await service.verify(sessions)
        await tamper(owner_sessions, "DELETE FROM audit_log WHERE seq = 5")

        assert (await service.verify(sessions)).seq == 4
        with pytest.raises(ChainBroken, match="removed"):
            await service.verify(sessions, expected=head)

    async def test_finds_a_chain_written_anew(self, sessions: Sessions, owner_sessions: Sessions) -> None:
        await write(sessions, 3)
        head = await service.verify(sessions)
        await tamper(owner_sessions, "TRUNCATE audit_log")
        await write(sessions, 4)

        assert (await service.verify(sessions)).seq == 4
        with pytest.raises(ChainBroken, match="written anew"):
            await service.verify(sessions, expected=head)

    async def test_takes_a_log_that_has_grown(self, sessions: Sessions) -> None:
        await write(sessions, 3)
        head = await service.verify(sessions)
        await write(sessions, 1100)

        assert (await service.verify(sessions, expected=head)).seq == 1103


class TestTable:
    @pytest.mark.parametrize("statement", STATEMENTS)
    async def test_refuses_every_change_to_the_application(self, sessions: Sessions, statement: str) -> None:
        await write(sessions)

        with pytest.raises(DBAPIError, match="permission denied"):
            await execute(sessions, statement)

        assert (await service.verify(sessions)).seq == 1

    @pytest.mark.parametrize("statement", STATEMENTS)
    async def test_refuses_every_change_to_its_owner(
        self, sessions: Sessions, owner_sessions: Sessions, statement: str
    ) -> None:
        await write(sessions)

        with pytest.raises(DBAPIError, match="never changed"):
            await execute(owner_sessions, statement)

        assert (await service.verify(sessions)).seq == 1

    async def test_has_a_column_for_each_fact_of_the_digest(self, sessions: Sessions) -> None:
        await write(sessions)
        async with transaction(sessions) as session:
            entry = await session.get(AuditEntry, 1)
        assert entry is not None
        before = entry.digest()

        for column in COLUMNS:
            if column not in ("hash",):
                copy = AuditEntry(**{c: getattr(entry, c) for c in COLUMNS})
                setattr(copy, column, _other(getattr(entry, column)))
                assert copy.digest() != before, column


def _other(value: Any) -> Any:
    match value:
        case None | str():
            return "something else"
        case int():
            return value + 1
        case dict():
            return {"other": True}
    return value.replace(year=2000) if hasattr(value, "replace") else "other"
