"""Points in time: ISO 8601 text to seconds since 1970 (UTC) and back.

`epoch_seconds` must agree to the bit with what the input contract's RowChecker makes of a request's text.
"""

import re
from datetime import UTC, datetime, timedelta

_SHAPE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ].*)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS = 86_400


def epoch_seconds(text: str) -> float:
    """A time without an offset is UTC. Raises ValueError for anything but ISO 8601's extended form."""
    if _SHAPE.fullmatch(text) is None:
        raise ValueError(f"not an ISO 8601 date or time: {text!r}")
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def iso_text(seconds: float) -> str:
    """The shortest text that reads back as the same seconds: a bare date for midnight."""
    moment = _EPOCH + timedelta(seconds=seconds)
    if seconds % _DAY_SECONDS == 0:
        return moment.date().isoformat()
    return moment.isoformat().replace("+00:00", "Z")
