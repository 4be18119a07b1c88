"""What a process tree keeps in memory: PSS, where pages shared by n processes count one nth for each."""

from dataclasses import dataclass
from pathlib import Path

from embedded.errors import StartFailed
from embedded.layout import Layout, read_json
from embedded.orphans import start_time

PROC = Path("/proc")
MIB = 1024 * 1024


@dataclass(frozen=True)
class Usage:
    name: str
    processes: int
    pss_bytes: int


def usages(layout: Layout) -> list[Usage]:
    """One for each process of a running platform with all its descendants, and one for the supervisor."""
    running = read_json(layout.run / "processes.json").get("processes", {})
    lock = layout.run / "lock"
    if not running or not lock.exists():
        raise StartFailed(f"No platform runs on {layout.root}.")
    children = _children()
    found = [
        _usage(name, [each["pid"], *_descendants(each["pid"], children)])
        for name, each in running.items()
        if start_time(each["pid"]) == each["started"]
    ]
    return [_usage("supervisor", [int(lock.read_text())]), *found]


def table(found: list[Usage]) -> str:
    ranked = sorted(found, key=lambda usage: -usage.pss_bytes)
    total = sum(usage.pss_bytes for usage in found)
    lines = [f"{'process':<18}{'count':>6}{'PSS MiB':>10}"]
    lines += [f"{usage.name:<18}{usage.processes:>6}{usage.pss_bytes / MIB:>10.1f}" for usage in ranked]
    count = sum(usage.processes for usage in found)
    return "\n".join([*lines, f"{'total':<18}{count:>6}{total / MIB:>10.1f}"])


def _usage(name: str, pids: list[int]) -> Usage:
    return Usage(name, len(pids), sum(map(pss_bytes, pids)))


def pss_bytes(pid: int) -> int:
    """0 for a process that has ended, or that we may not look at."""
    try:
        rows = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(row.split()[1]) * 1024 for row in rows if row.startswith("Pss:"))


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for process in PROC.glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        found.setdefault(parent, []).append(int(process.name))
    return found


def _descendants(pid: int, children: dict[int, list[int]]) -> list[int]:
    direct = children.get(pid, [])
    return [*direct, *(deeper for child in direct for deeper in _descendants(child, children))]
