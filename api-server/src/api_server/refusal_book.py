"""Keeps a flood of refusals from filling the audit log, which only grows.

In each minute the first refusals of a caller and action get an entry each. The others are counted, and the minute ends
with one entry that says how many they were. A process that is killed takes at most a minute's counts with it.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from api_server.audit_trail import Deed, Who
from platform_kit.plumbing.client_address import network_of

WINDOW_SECONDS = 60.0
MOST_WINDOWS = 10_000
MORE = "more_refused"
_ANYBODY = "anybody"


@dataclass
class _Window:
    """who, deed: of the last refusal that was only counted."""

    ends_at: float
    written: int = 0
    counted: int = 0
    who: Who | None = None
    deed: Deed | None = None


class RefusalBook:
    def __init__(self, *, per_minute: int, window_seconds: float = WINDOW_SECONDS) -> None:
        self._most, self._seconds = per_minute, window_seconds
        self._windows: dict[tuple[str, str], _Window] = {}

    def admits(self, who: Who, deed: Deed) -> bool:
        """Whether this refusal gets an entry of its own; if not, it is counted."""
        caller = str(who.user_id) if who.user_id else network_of(who.address)
        key = (caller, deed.action)
        if key not in self._windows and len(self._windows) >= MOST_WINDOWS:
            key = (_ANYBODY, deed.action)
        window = self._windows.setdefault(key, _Window(time.monotonic() + self._seconds))
        if window.written < self._most:
            window.written += 1
            return True
        window.counted += 1
        window.who, window.deed = who, deed
        return False

    def summaries(self, *, all_of_them: bool = False) -> Iterator[tuple[Who, Deed]]:
        """Close the windows that are over, and say what was only counted in them."""
        now = time.monotonic()
        for key, window in list(self._windows.items()):
            if not all_of_them and window.ends_at > now:
                continue
            del self._windows[key]
            if window.who is not None and window.deed is not None:
                details = {"refusals": window.counted, "seconds": round(self._seconds)}
                summary = Deed(
                    window.deed.action,
                    outcome=window.deed.outcome,
                    code=MORE,
                    service=window.deed.service,
                    details=details,
                )
                yield replace(window.who, request_id=None), summary
