"""What a container's processes keep in memory."""

import subprocess

from embedded.memory import pss_bytes


def container_bytes(container: str) -> int:
    """PSS of all its processes; 0 unless this machine runs the engine, and we may look."""
    listed = subprocess.run(
        ["docker", "top", container, "-eo", "pid"], capture_output=True, text=True, check=False
    ).stdout.split()[1:]
    return sum(pss_bytes(int(each)) for each in listed)
