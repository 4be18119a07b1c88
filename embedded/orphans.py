"""Finds and ends processes that a killed supervisor left behind.

Each process of ours is known by pid and start time (a pid alone may be somebody else's by now), and carries the
id of its run in its environment, which its own children inherit.
"""

import json
import os
import signal
import time
from pathlib import Path

from embedded.layout import read_json, write_private

RUN_VARIABLE = "EMBEDDED_RUN"
POLL_SECONDS = 0.05
GRACE_SECONDS = 5.0

PROC = Path("/proc")


class Journal:
    """Which processes run; the next platform on this directory reads it if this one could not end them."""

    def __init__(self, path: Path, *, run_id: str) -> None:
        self._path, self._run_id = path, run_id
        self._processes: dict[str, dict[str, int]] = {}

    def started(self, name: str, pid: int, *, stop_signal: int) -> None:
        self._processes[name] = {"pid": pid, "started": start_time(pid) or 0, "stop_signal": stop_signal}
        self._write()

    def ended(self, name: str) -> None:
        self._processes.pop(name, None)
        self._write()

    def _write(self) -> None:
        content = {"run_id": self._run_id, "boot_id": boot_id(), "processes": self._processes}
        write_private(self._path, json.dumps(content, indent=2) + "\n")


def reclaim(path: Path) -> list[str]:
    """End what an earlier run left behind; returns a line for each. Call it only while holding the directory."""
    known = read_json(path)
    if not known or known.get("boot_id") != boot_id():
        return []
    left = {
        name: each for name, each in known["processes"].items() if start_time(each["pid"]) == each["started"]
    }
    for each in left.values():
        _signal(each["pid"], each["stop_signal"])
        _signal(each["pid"], signal.SIGCONT)  # a suspended process heeds nothing else
    _wait_or_kill([each["pid"] for each in left.values()], seconds=GRACE_SECONDS)
    stray = strays(known["run_id"])
    _wait_or_kill(stray, seconds=0)
    lines = [
        f"ended {name} (process {each['pid']}), left by a platform that was killed"
        for name, each in left.items()
    ]
    return lines + [f"ended process {pid}, left by a platform that was killed" for pid in stray]


def strays(run_id: str) -> list[int]:
    """Processes that carry the id of a run, grandchildren included."""
    mark = f"{RUN_VARIABLE}={run_id}".encode()
    found = []
    for process in PROC.glob("[0-9]*"):
        try:
            if (
                mark in (process / "environ").read_bytes().split(b"\0")
                and start_time(int(process.name)) is not None
            ):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def end_strays(run_id: str) -> None:
    _wait_or_kill(strays(run_id), seconds=0)


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None if it has ended."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, started = fields[0], fields[19]
    return None if state in "ZX" else int(started)


def boot_id() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def ended_within(*pids: int, seconds: float) -> bool:
    """Wait for the end of processes that need not be our children; False if one still runs."""
    begun = {pid: start_time(pid) for pid in pids}
    deadline = time.monotonic() + seconds
    while any(started is not None and start_time(pid) == started for pid, started in begun.items()):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _wait_or_kill(pids: list[int], *, seconds: float) -> None:
    begun = {pid: start_time(pid) for pid in pids}
    if ended_within(*pids, seconds=seconds):
        return
    for pid, started in begun.items():
        if started is not None and start_time(pid) == started:
            _signal(pid, signal.SIGKILL)
    ended_within(*pids, seconds=GRACE_SECONDS)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return
