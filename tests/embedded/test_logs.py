"""What reaches the terminal and the log files, also when nobody reads."""

import json
import os
import time
from pathlib import Path

import pytest

from embedded import logs
from embedded.logs import Output, Terminal, readable
from embedded.recipe import everything

EVENT = {
    "@timestamp": "2026-11-23T12:30:05.123Z",
    "log.level": "warning",
    "log.logger": "platform",
    "service.name": "worker-ml",
    "message": "job.claimed",
    "attempt": 2,
}


def output(path: Path, *, terminal: Terminal | None = None) -> Output:
    return Output("worker-ml", path, terminal=terminal, shows=everything)


class TestReadable:
    def test_an_event_becomes_a_short_line(self) -> None:
        assert readable(json.dumps(EVENT)) == "12:30:05 WARNING job.claimed attempt=2"

    def test_a_stack_trace_follows_its_event(self) -> None:
        line = readable(json.dumps({**EVENT, "error.stack_trace": "Traceback ...\nKeyError: 'x'"}))

        assert line.splitlines()[1:] == ["Traceback ...", "KeyError: 'x'"]

    @pytest.mark.parametrize("line", ["plain words", "{not json", '{"no": "message"}', "[1]", ""])
    def test_any_other_line_stays_as_it_is(self, line: str) -> None:
        assert readable(line) == line


class TestOutput:
    def test_lines_are_put_together_from_pieces(self, tmp_path: Path) -> None:
        made = output(tmp_path / "log")

        for piece in (b"one\ntw", b"o\n", b"three"):
            made.feed(piece)
        made.close()

        assert (tmp_path / "log").read_text() == "one\ntwo\nthree\n"
        assert list(made.tail) == ["one", "two", "three"]

    def test_a_line_without_end_does_not_fill_the_memory(self, tmp_path: Path) -> None:
        made = output(tmp_path / "log")

        for _ in range(10):
            made.feed(b"x" * 20_000)

        assert (tmp_path / "log").stat().st_size > 100_000
        made.close()

    def test_a_large_file_makes_room_for_a_new_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logs, "MAX_FILE_BYTES", 100)
        made = output(tmp_path / "log")

        for number in range(20):
            made.feed(b"line %d of twenty\n" % number)
        made.close()

        assert (tmp_path / "log").stat().st_size <= 120
        assert (tmp_path / "log.1").stat().st_size <= 120


class TestTerminal:
    def test_names_stand_before_lines_and_there_is_no_colour_in_a_pipe(self) -> None:
        reader, writer = os.pipe()
        terminal = Terminal(writer)

        terminal.log("api-server", "two\nlines")
        terminal.close()

        assert os.read(reader, 1000).decode().split("\n") == [
            "api-server    | two",
            "api-server    | lines",
            "",
        ]
        for descriptor in (reader, writer):
            os.close(descriptor)

    def test_a_reader_who_stopped_reading_stops_nobody(self) -> None:
        reader, writer = os.pipe()
        terminal = Terminal(writer)

        started = time.monotonic()
        for _ in range(20_000):
            terminal.say("x" * 100)
        seconds = time.monotonic() - started

        assert seconds < 5
        while b"were not shown" not in os.read(reader, 1_000_000):
            terminal.say("more")
        os.close(reader)
        terminal.close()
        os.close(writer)
