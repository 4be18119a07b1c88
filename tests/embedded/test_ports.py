"""Ports are free with all that belongs to them, and stay from one start to the next."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded import ports
from embedded.errors import StartFailed


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen()
        yield made


def numbers_of(chosen: dict[str, int]) -> list[int]:
    return [chosen[name] + offset for name, span in ports.INNER.items() for offset in span]


def test_they_are_kept(tmp_path: Path) -> None:
    with ports.chosen(tmp_path / "ports.json") as first:
        pass

    with ports.chosen(tmp_path / "ports.json") as second:
        assert second == first


def test_no_two_servers_share_a_port(tmp_path: Path) -> None:
    with ports.chosen(tmp_path / "ports.json") as chosen:
        every = numbers_of(chosen)

    assert len(set(every)) == len(every)


def test_no_two_platforms_that_start_at_once_share_a_port(tmp_path: Path) -> None:
    with ports.chosen(tmp_path / "ports.json") as first:
        (tmp_path / "other.json").write_text(json.dumps(first))

        with ports.chosen(tmp_path / "other.json") as second:
            assert set(numbers_of(first)).isdisjoint(numbers_of(second))


def test_a_span_is_free_as_a_whole(tmp_path: Path) -> None:
    with ports.chosen(tmp_path / "ports.json") as chosen:
        pass
    with socket.socket() as intruder:
        intruder.bind(("127.0.0.1", chosen["s3"] + 10_003))
        intruder.listen()

        with ports.chosen(tmp_path / "ports.json") as again:
            pass

    assert again["s3"] != chosen["s3"]
    assert {**again, "s3": 0} == {**chosen, "s3": 0}


def test_a_port_in_use_names_the_user(listener: socket.socket) -> None:
    port = listener.getsockname()[1]

    with pytest.raises(StartFailed, match=rf"Port {port} is in use by process {os.getpid()} \("):
        ports.require_free(port, host="127.0.0.1", setting="API_PORT")


def test_a_port_that_needs_rights_is_told_from_one_in_use() -> None:
    with pytest.raises(StartFailed, match="cannot be opened"):
        ports.is_free(80, host="192.0.2.1")
