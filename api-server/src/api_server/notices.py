"""Tells ml-service what has ended, as soon as it is committed and never before; best effort, and no request waits.

ml-service would find out by itself within two seconds (docs/decisions/0021).
"""

from api_server.database import AsyncSession, after_commit
from platform_kit.contract.access import Notice
from platform_kit.plumbing.notices import NoticeSender

__all__ = ["SENDER", "NoticeSender", "tell"]

SENDER = "notices"
"""Where `session.info` has the sender; a process that has none, such as the command line, tells nothing."""


def tell(session: AsyncSession, notice: Notice) -> None:
    """Have it said that this session, key, user or project is not what it was before this transaction."""
    sender: NoticeSender | None = session.info.get(SENDER)
    if sender is not None:
        after_commit(session, lambda: sender.tell([notice]))
