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
from pathlib import Path
from typing import IO, Any

PROGRAM = ["-m", "ml_service.child"]
LONGEST_LINE = 64 * 1024 * 1024
LONGEST_LOG_LINE = 4000
MOST_LOG_LINES = 2000
CLOSE_SECONDS = 5.0
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")

Message = dict[str, Any]


class ChildProcess:
    """Messages arrive on `messages`; None is the last one, when the child has closed its line."""

    def __init__(
        self, order: Message, *, threads: int | None, memory_limit_bytes: int | None, folder: Path
    ) -> None:
        self.messages: queue.Queue[Message | None] = queue.Queue(maxsize=1000)
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, *PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd=folder,
            env=_environment(threads, folder),
        )
        self._memory_limit_bytes = memory_limit_bytes
        _limit(self._process.pid, memory_limit_bytes)
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin, "asked for above"
        assert stdout, "asked for above"
        assert stderr, "asked for above"
        self._send(stdin, order)
        self._readers = [
            _started(self._read_messages, stdout),
            _started(self._read_log, stderr),
        ]

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> int:
        """Exit code; negative: the signal that ended it."""
        return self._process.wait()

    def kill(self, *, grace_seconds: float) -> None:
        """End the whole group: politely, then by force. No process of it is left."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_seconds)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def is_over_memory(self) -> bool:
        """Whether the child holds more memory than it may: libraries that catch a failed allocation do not stop."""
        return self._memory_limit_bytes is not None and _resident_bytes(self.pid) > self._memory_limit_bytes

    def close(self) -> None:
        """Let the readers come to their end, whatever they still have to say. Call it after `kill`."""
        deadline = time.monotonic() + CLOSE_SECONDS
        while any(reader.is_alive() for reader in self._readers) and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                self.messages.get(timeout=0.05)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _send(self, stdin: IO[bytes], order: Message) -> None:
        with contextlib.suppress(BrokenPipeError), stdin:
            stdin.write(json.dumps(order).encode() + b"\n")

    def _read_messages(self, stdout: IO[bytes]) -> None:
        with stdout:
            while line := stdout.readline(LONGEST_LINE):
                with contextlib.suppress(ValueError):
                    message = json.loads(line)
                    if isinstance(message, dict):
                        self.messages.put(message)
        self.messages.put(None)

    def _read_log(self, stderr: IO[bytes]) -> None:
        """Pass on what libraries print, up to a limit; read on after it, so that the child is never blocked."""
        left = MOST_LOG_LINES
        with stderr:
            while line := stderr.readline(LONGEST_LOG_LINE):
                text = line.decode(errors="replace").strip()
                if text and left > 0:
                    left -= 1
                    self.messages.put({"type": "log", "level": "info", "message": text})


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
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        if memory_limit_bytes is not None:
            # Address space is more than memory: libraries reserve without using. The exact limit is watched.
            space = 4 * memory_limit_bytes + 8 * 1024**3
            resource.prlimit(pid, resource.RLIMIT_AS, (space, space))


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * resource.getpagesize()
