"""What the supervisor has to know about a process."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path

from embedded.layout import REPOSITORY
from embedded.probes import Probe, alive


class Tier(IntEnum):
    """Stopped from the highest to the lowest."""

    SERVER = 0
    WEB = 1
    WORKER = 2


class Identity(StrEnum):
    """Who a process runs as; see launch.py."""

    SELF = "self"
    NAMESPACE = "namespace"
    NOBODY = "nobody"


def everything(line: str) -> bool:
    return True


@dataclass(frozen=True, kw_only=True)
class Recipe:
    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = REPOSITORY
    tier: Tier = Tier.WORKER
    identity: Identity = Identity.SELF
    needs: tuple[str, ...] = ()
    """Names of the processes that are ready (or, run once, have ended well) before this one starts."""
    once: bool = False
    """It does one piece of work and ends with 0. May be done again."""
    awaited: bool = True
    """The platform is ready only when this is."""
    prepare: Callable[[], None] | None = None
    """Done before each start, in a thread."""
    ready: Probe = alive
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 3.0
    """After that it is killed."""
    death_signal: signal.Signals = signal.SIGKILL
    """What it gets when the supervisor itself is killed."""
    shows: Callable[[str], bool] = everything
    """Which of its lines are for the terminal; all are in its log file."""
