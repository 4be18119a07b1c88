from dataclasses import dataclass

from api_server.audit import repository
from api_server.audit.schemas import AuditFilter
from api_server.audit_trail import GENESIS, AuditEntry
from api_server.auth.actor import Actor
from api_server.database import AsyncSession, Sessions, transaction
from api_server.pagination import PageParams, Rows

BATCH = 1000


@dataclass(frozen=True)
class Head:
    """The last entry that holds; of an empty log, 0 and the genesis hash."""

    seq: int
    hash: str


class ChainBroken(Exception):
    """Says where, and what that means."""


async def list_entries(
    session: AsyncSession, actor: Actor, filters: AuditFilter, params: PageParams
) -> Rows[AuditEntry]:
    return await repository.list_entries(session, actor, filters, params)


async def verify(sessions: Sessions, *, expected: Head | None = None) -> Head:
    """Compute every hash anew; raises ChainBroken at the first entry that was changed, removed or slipped in.

    expected: an entry that was written down elsewhere, such as in the logs; without one, a chain whose end was cut off,
    or that was written anew from some entry on, looks whole.
    """
    head, found = Head(0, GENESIS), expected is None or expected.seq == 0
    while True:
        async with transaction(sessions) as session:
            entries = await repository.next_entries(session, head.seq, most=BATCH)
        for entry in entries:
            head = _follow(head, entry)
            if expected is not None and entry.seq == expected.seq:
                found = True
                if entry.hash != expected.hash:
                    raise ChainBroken(
                        f"Entry {entry.seq} is not the one expected: it, or one before, was written anew."
                    )
        if len(entries) < BATCH:
            break
    if not found and expected is not None:
        raise ChainBroken(
            f"The log ends at entry {head.seq}; entry {expected.seq}, which was there, was removed."
        )
    return head


def _follow(head: Head, entry: AuditEntry) -> Head:
    if entry.seq != head.seq + 1:
        raise ChainBroken(f"After entry {head.seq} comes {entry.seq}: what was between them was removed.")
    if entry.previous_hash != head.hash:
        raise ChainBroken(f"Entry {entry.seq} does not follow entry {head.seq}: one of them was replaced.")
    if entry.hash != entry.digest():
        raise ChainBroken(f"Entry {entry.seq} was changed after it was written.")
    return Head(entry.seq, entry.hash)
