"""A file that a process which listens nowhere touches while it works; `probe` looks at its age."""

from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


def touch(path: Path | None) -> None:
    """Say that this process works. A disk that is full must not end it: then only the file grows old."""
    if path is None:
        return
    try:
        path.touch()
    except OSError as error:
        log.warning("alive_file.not_touched", path=str(path), error=str(error))
