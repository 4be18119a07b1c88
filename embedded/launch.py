"""Become COMMAND, as a child that ends with its supervisor.

    python -I -S launch.py DEATH_SIGNAL IDENTITY SUPERVISOR_PID DIRECTORY COMMAND...

A program of its own, because a process with threads can do nothing safely between fork and exec but exec.
IDENTITY is `self`, or one of two ways to run what refuses root: `namespace` is another user of a user
namespace, where files stay the caller's own and no directory needs opening to others; `nobody` is user 65534.
"""

import ctypes
import os
import pwd
import sys
from collections.abc import Iterable
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
NOBODY_ID = 65534

libc = ctypes.CDLL(None, use_errno=True)


def launched(
    command: Iterable[str], *, identity: str, directory: Path, death_signal: int = 9
) -> tuple[str, ...]:
    """The command line that starts `command` through this program; to be run by the calling process."""
    launcher = (sys.executable, "-I", "-S", __file__)
    return (*launcher, str(int(death_signal)), identity, str(os.getpid()), str(directory), *command)


def main() -> None:
    death_signal, identity, supervisor, directory, *command = sys.argv[1:]
    if identity == "namespace":
        _enter_namespace()
    elif identity == "nobody":
        _become_nobody()
    os.chdir(directory)
    # After the change of user, which clears it. The supervisor may have ended before this line, hence the check.
    libc.prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != int(supervisor):
        sys.exit("The supervisor ended while this process started.")
    os.execv(command[0], command)  # noqa: S606  # no shell is wanted


def _enter_namespace() -> None:
    uid, gid = os.getuid(), os.getgid()
    inside = next((entry for entry in pwd.getpwall() if entry.pw_uid != 0), None)
    if inside is None:
        sys.exit("no user but root is in /etc/passwd")
    if libc.unshare(CLONE_NEWUSER) != 0:
        sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside.pw_uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{inside.pw_gid or NOBODY_ID} {gid} 1")


def _become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY_ID)
    os.setuid(NOBODY_ID)


if __name__ == "__main__":
    main()
