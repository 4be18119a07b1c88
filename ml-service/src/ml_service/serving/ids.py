"""Ids for predictions and requests. Asking the system for randomness each time costs more than many models."""

import os
from uuid import UUID

AT_ONCE = 256

_drawn: list[bytes] = []
os.register_at_fork(after_in_child=_drawn.clear)


def new_id() -> str:
    """A random UUID (version 4), in its usual spelling."""
    if not _drawn:
        drawn = os.urandom(16 * AT_ONCE)
        _drawn.extend(drawn[at : at + 16] for at in range(0, len(drawn), 16))
    return str(UUID(bytes=_drawn.pop(), version=4))
