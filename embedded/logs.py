"""One log file for each process, and one readable stream of all of them for the terminal."""

import json
import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 20_000_000
MAX_LINE_BYTES = 64_000
TAIL_LINES = 30
QUEUED_LINES = 5_000
NAME_WIDTH = 14
COLOURS = (36, 35, 34, 33, 32, 96, 95, 94, 93, 92)
LEVEL_COLOURS = {"WARNING": 33, "ERROR": 31, "CRITICAL": 31}
STRUCTURAL = frozenset({
    "@timestamp", "message", "log.level", "log.logger", "service.name", "error.stack_trace", "http.request.id",
})  # fmt: skip


class Terminal:
    """Writes lines to a file descriptor from a thread of its own.

    Whoever reads may stop reading (a full pipe, Ctrl-S): then lines are dropped and counted, and the platform runs on.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue(QUEUED_LINES)
        self._dropped = 0
        self._colours: dict[str, int] = {}
        self.coloured = os.isatty(descriptor) and not os.environ.get("NO_COLOR")
        self._thread = threading.Thread(target=self._write, name="terminal", daemon=True)
        self._thread.start()

    def say(self, line: str) -> None:
        """A line of the supervisor's own, as it is."""
        self._put(line)

    def log(self, name: str, line: str) -> None:
        label = self._paint(f"{name:<{NAME_WIDTH}}|", self._colours.setdefault(name, self._next_colour()))
        for part in readable(line, paint=self._paint).splitlines():
            self._put(f"{label} {part}")

    def close(self, *, seconds: float = 1.0) -> None:
        """Write what is left, unless nobody reads."""
        try:
            self._lines.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _put(self, line: str) -> None:
        try:
            if self._dropped:
                self._lines.put_nowait(f"({self._dropped} lines were not shown; they are in the log files)")
                self._dropped = 0
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            content = memoryview(line.encode(errors="replace") + b"\n")
            try:
                while content:
                    content = content[os.write(self._descriptor, content) :]
            except OSError:  # nobody will ever read again: `make dev | head`
                return

    def _next_colour(self) -> int:
        return COLOURS[len(self._colours) % len(COLOURS)]

    def _paint(self, text: str, colour: int) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.coloured else text


def readable(line: str, *, paint: Callable[[str, int], str] = lambda text, colour: text) -> str:
    """`12:30:05 INFO job.claimed attempt=1` for a JSON line of our services; any other line as it is."""
    event = _event(line)
    if event is None:
        return line
    level = str(event.get("log.level", "")).upper()
    shown_level = paint(level, LEVEL_COLOURS[level]) if level in LEVEL_COLOURS else level
    details = " ".join(f"{key}={value}" for key, value in event.items() if key not in STRUCTURAL)
    time_of_day = str(event.get("@timestamp", ""))[11:19]
    words = " ".join(part for part in (time_of_day, shown_level, str(event["message"]), details) if part)
    trace = event.get("error.stack_trace")
    return f"{words}\n{trace}" if trace else words


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and "message" in event else None


class Output:
    """What one process prints: cut into lines, written to its file, shown, and the end of it remembered."""

    def __init__(
        self, name: str, path: Path, *, terminal: Terminal | None, shows: Callable[[str], bool]
    ) -> None:
        self._name, self._path, self._terminal, self._shows = name, path, terminal, shows
        self._file = path.open("ab")
        self._partial = b""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def feed(self, content: bytes) -> None:
        *lines, self._partial = (self._partial + content).split(b"\n")
        if len(self._partial) > MAX_LINE_BYTES:
            lines, self._partial = [*lines, self._partial], b""
        for line in lines:
            self._line(line)
        self._file.flush()
        if self._file.tell() > MAX_FILE_BYTES:
            self._rotate()

    def close(self) -> None:
        if self._partial:
            self.feed(b"\n")
        self._file.close()

    def _line(self, raw: bytes) -> None:
        self._file.write(raw + b"\n")
        line = raw.decode(errors="replace").rstrip()
        if not line:
            return
        self.tail.append(line)
        if self._terminal and self._shows(line):
            self._terminal.log(self._name, line)

    def _rotate(self) -> None:
        self._file.close()
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._file = self._path.open("ab")


def complain(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
