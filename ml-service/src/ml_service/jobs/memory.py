"""How much memory a job may use, and who ended it when it used more."""

import sys
import time
from pathlib import Path

from ml_service.jobs.family import Process, family, resident_bytes

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
MACHINE = Path("/proc/meminfo")
MACHINE_COUNTERS = Path("/proc/vmstat")
LOOK_SECONDS = 0.1
LOOK_AT_FAMILY_SECONDS = 0.5


class MemoryGuard:
    """Watches a process and all that it starts."""

    def __init__(self, pid: int, limit_bytes: int | None) -> None:
        self._pid, self._limit_bytes = pid, sys.maxsize if limit_bytes is None else limit_bytes
        self.members: list[Process] = []
        """As they were last seen."""
        self._next_look = self._next_look_at_family = 0.0

    def is_exceeded(self) -> bool:
        """Cheap enough for every tick: the process itself is looked at often, its family less so."""
        now = time.monotonic()
        if now >= self._next_look_at_family:
            self._next_look_at_family = now + LOOK_AT_FAMILY_SECONDS
            return self._is_family_over()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            return resident_bytes(self._pid) > self._limit_bytes
        return False

    def _is_family_over(self) -> bool:
        self.members = members = family(self._pid, known=self.members)
        if sum(each.resident_bytes() for each in members) <= self._limit_bytes:
            return False
        # What forked processes share was counted for each of them.
        return len(members) == 1 or sum(each.own_share_bytes() for each in members) > self._limit_bytes


def available_bytes() -> int:
    """What this process and its children may use together: the machine's memory, or the container's."""
    (total,) = (line for line in MACHINE.read_text().splitlines() if line.startswith("MemTotal:"))
    limits = [int(total.split()[1]) * 1024]
    for folder in _cgroup_folders():
        text = _read(folder / "memory.max").strip()
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def kernel_kills() -> int:
    """How many processes the kernel has killed for want of memory: in this container if it says so, else at all."""
    for folder in _cgroup_folders():
        found = _counter(_read(folder / "memory.events"), "oom_kill")
        if found is not None:
            return found
    return _counter(_read(MACHINE_COUNTERS), "oom_kill") or 0


def _cgroup_folders() -> list[Path]:
    """This process's group and those around it, the nearest first (cgroup v2)."""
    for line in _read(OWN_CGROUP).splitlines():
        if line.startswith("0::"):
            folder = CGROUPS / line[3:].strip("/")
            return [folder, *(each for each in folder.parents if each.is_relative_to(CGROUPS))]
    return []


def _counter(text: str, name: str) -> int | None:
    for line in text.splitlines():
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
