"""The disposable process that runs one job: started without credentials, watched, and killed as a group.

It gets its own session, so that a kill reaches whatever it started; it ends itself when this worker is gone.
"""

import contextlib
import json
import os
import queue
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

from ml_service.jobs import memory
from ml_service.jobs.family import family
from ml_service.jobs.heart import LONGEST_LOG_LINE

PROGRAM = ["-m", "ml_service.child"]
LONGEST_LINE = 64 * 1024 * 1024
MOST_LOG_LINES = 2000
CLOSE_SECONDS = 2.0
MOST_SPACE_BYTES = 2**62
KILLED_FIRST = "500"
"""When memory runs out, the kernel ends a child rather than the worker, whose heart holds the lease."""
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")

Message = dict[str, Any]


class ChildProcess:
    """What it says comes from `next_message`."""

    def __init__(
        self, order: Message, *, threads: int | None, memory_limit_bytes: int | None, folder: Path
    ) -> None:
        self._messages: queue.Queue[Message | None] = queue.Queue(maxsize=1000)
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, *PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd=folder,
            env=_environment(threads, folder),
        )
        _limit(self._process.pid, memory_limit_bytes)
        self._guard = memory.MemoryGuard(self._process.pid, memory_limit_bytes)
        self._ended_at: float | None = None
        self._kernel_kills = memory.kernel_kills()
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin, "asked for above"
        assert stdout, "asked for above"
        assert stderr, "asked for above"
        # A thread for the order as well: a child that does not read must not hold up who watches it.
        self._threads = [
            _started(partial(self._send, order=order), stdin),
            _started(self._read_messages, stdout),
            _started(self._read_log, stderr),
        ]

    def next_message(self, timeout_seconds: float) -> Message | None:
        """Empty when none came in time; None when there are no more."""
        try:
            return self._messages.get(timeout=timeout_seconds)
        except queue.Empty:
            return None if self._gives_up_on_its_line() else {}

    def _gives_up_on_its_line(self) -> bool:
        """The child has ended, and what it started keeps its line open: the end of the line would never come."""
        now = time.monotonic()
        if self._ended_at is None and self._has_ended():
            self._ended_at = now
            self.kill(grace_seconds=0)
        return self._ended_at is not None and now - self._ended_at > CLOSE_SECONDS

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> int:
        """Exit code; negative: the signal that ended it."""
        return self._process.wait()

    def kill(self, *, grace_seconds: float) -> None:
        """End the child and whatever it has started: politely, then by force. No process of it is left."""
        if self._process.returncode is not None:
            return
        members = family(self.pid, known=self._guard.members)
        self._signal(signal.SIGTERM)
        self._await_end(grace_seconds)
        self._signal(signal.SIGKILL)
        for member in members:
            if member.pid != self.pid:
                member.kill()
        self._process.wait()

    def _await_end(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._has_ended() and time.monotonic() < end:
            time.sleep(0.005)

    def _has_ended(self) -> bool:
        """Only a look: its number belongs to nobody else until `wait` takes note of its end."""
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return self._process.returncode is not None or os.waitid(os.P_PID, self.pid, look) is not None

    def is_over_memory(self) -> bool:
        """Whether it and its family hold more than they may: libraries that catch a failed allocation do not stop."""
        return self._guard.is_exceeded()

    def was_killed_by_kernel(self) -> bool:
        """Whether the kernel ended it because memory had run out. Call it after `kill`."""
        return self.wait() == -signal.SIGKILL and memory.kernel_kills() > self._kernel_kills

    def close(self) -> None:
        """Let the readers come to their end, whatever they still have to say. Call it after `kill`."""
        deadline = time.monotonic() + CLOSE_SECONDS
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                self._messages.get(timeout=0.05)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _send(self, stdin: IO[bytes], order: Message) -> None:
        with contextlib.suppress(OSError), stdin:
            stdin.write(json.dumps(order).encode() + b"\n")

    def _read_messages(self, stdout: IO[bytes]) -> None:
        with stdout:
            while line := stdout.readline(LONGEST_LINE):
                with contextlib.suppress(ValueError):
                    message = json.loads(line)
                    if isinstance(message, dict):
                        self._messages.put(message)
        self._messages.put(None)

    def _read_log(self, stderr: IO[bytes]) -> None:
        """Pass on what libraries print, up to a limit; read on after it, so that the child is never blocked."""
        left = MOST_LOG_LINES
        with stderr:
            while line := stderr.readline(LONGEST_LOG_LINE):
                text = line.decode(errors="replace").strip()
                if text and left > 0:
                    left -= 1
                    self._messages.put({"type": "log", "level": "info", "message": text})


def _started(work: Callable[[IO[bytes]], None], stream: IO[bytes]) -> threading.Thread:
    thread = threading.Thread(target=work, args=(stream,), daemon=True)
    thread.start()
    return thread


def _environment(threads: int | None, folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    if threads is not None:
        kept["TRAINING_THREADS"] = str(threads)
    return {
        **kept,
        "PARENT_PID": str(os.getpid()),
        "PYTHONUNBUFFERED": "1",
        "JOBLIB_TEMP_FOLDER": str(folder),
    }


def _limit(pid: int, memory_limit_bytes: int | None) -> None:
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(KILLED_FIRST)
    # The worker's own hard limits may be lower still, and then they hold.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        if memory_limit_bytes is not None:
            # Address space is more than memory: libraries reserve without using. The exact limit is watched.
            space = min(4 * memory_limit_bytes + 8 * 1024**3, MOST_SPACE_BYTES)
            resource.prlimit(pid, resource.RLIMIT_AS, (space, space))
