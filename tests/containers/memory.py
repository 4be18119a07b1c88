"""What a container's processes keep in memory: PSS, where pages shared by n processes count one nth for each."""

import subprocess
from pathlib import Path

PROC = Path("/proc")


def pss_bytes(pid: int, container: str) -> int:
    """0 unless this machine runs the engine, and we may look."""
    listed = subprocess.run(
        ["docker", "top", container, "-eo", "pid"], capture_output=True, text=True, check=False
    ).stdout.split()[1:]
    return sum(_pss_bytes(int(each)) for each in listed or [str(pid)])


def _pss_bytes(pid: int) -> int:
    try:
        rows = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(row.split()[1]) * 1024 for row in rows if row.startswith("Pss:"))
