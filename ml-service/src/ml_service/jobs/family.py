"""A process and all that it has started, as /proc shows them."""

import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Process:
    pid: int
    started: int
    """In ticks since the machine started: a number that is given to another process later has another start."""
    parent: int
    session: int

    def kill(self) -> None:
        now = _process(self.pid)
        if now is not None and now.started == self.started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def resident_bytes(self) -> int:
        return resident_bytes(self.pid)

    def own_share_bytes(self) -> int:
        """Memory that several processes share counts in parts. Exact, and slow."""
        try:
            for line in (PROC / str(self.pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        except (OSError, ValueError):
            pass
        return 0


def family(pid: int, *, known: Iterable[Process] = ()) -> list[Process]:
    """The process itself, its session, and their descendants, those that left the session included.

    known: who was of it when it was last looked at. Whose parent has ended is not to be recognized otherwise.
    """
    before = {(process.pid, process.started) for process in known}
    children: defaultdict[int, list[Process]] = defaultdict(list)
    found: dict[int, Process] = {}
    for process in _all_processes():
        children[process.parent].append(process)
        if pid in (process.pid, process.session) or (process.pid, process.started) in before:
            found[process.pid] = process
    waiting = list(found)
    while waiting:
        for child in children[waiting.pop()]:
            if child.pid not in found:
                found[child.pid] = child
                waiting.append(child.pid)
    return list(found.values())


def resident_bytes(pid: int) -> int:
    try:
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0


def _all_processes() -> list[Process]:
    numbers = [int(name) for name in os.listdir(PROC) if name.isdigit()]
    return [process for number in numbers if (process := _process(number)) is not None]


def _process(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat") as file:
            facts = file.read().rpartition(")")[2].split()
        return Process(pid, started=int(facts[19]), parent=int(facts[1]), session=int(facts[3]))
    except (OSError, IndexError, ValueError):
        return None
