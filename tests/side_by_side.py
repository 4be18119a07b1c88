"""How `make test` runs tests in several processes: what stays together, in which order, and what runs alone."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

PROCESSES = 2
TOGETHER = ("tests/end_to_end/", "tests/faults/", "tests/access/", "tests/fuzz/")
"""Each of these shares one platform, which takes long to start, and its tests build on what went before. They are
begun first, so that none is left over for one process in the end. All others go by file to whoever is free."""
SELECTING = ("keyword", "markexpr", "lf", "stepwise", "deselect", "ignore", "ignore_glob", "collectonly")


def processes_for(config: pytest.Config) -> int:
    """Of a few tests each would start its own servers; and only one process has a terminal to show things on."""
    is_selected = any(config.getoption(each, None) for each in SELECTING)
    is_all = config.args_source is config.ArgsSource.TESTPATHS and not is_selected
    return PROCESSES if is_all and config.getoption("capture") != "no" else 0


def unit_of(nodeid: str) -> str:
    file = nodeid.partition("::")[0]
    return next((folder for folder in TOGETHER if file.startswith(folder)), file)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    rank = {folder: number for number, folder in enumerate(TOGETHER)}
    return sorted(items, key=lambda item: rank.get(unit_of(item.nodeid), len(rank)))


class SideBySide(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out units in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: object = None) -> None:
        config.option.loadscopereorder = False  # by number of tests, which says little about their time
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


class Turns:
    """Any number of tests at once, or one that is alone: who waits for that keeps the others from beginning."""

    def __init__(self, folder: Path) -> None:
        # Open until the process ends, which lets go of them however it ends.
        self._door, self._room = (os.open(folder / name, os.O_CREAT | os.O_RDWR) for name in ("door", "room"))
        self._is_alone = False

    @contextmanager
    def turn(self, *, alone: bool, next_alone: bool = False) -> Iterator[None]:
        """Two that are alone, one after the other in one process, have one turn."""
        if not self._is_alone:
            self._enter(alone=alone)
        try:
            yield
        finally:
            if not (alone and next_alone):
                self._leave()

    def _enter(self, *, alone: bool) -> None:
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        self._is_alone = alone
        if not alone:
            fcntl.flock(self._door, fcntl.LOCK_UN)

    def _leave(self) -> None:
        for each in (self._room, self._door):
            fcntl.flock(each, fcntl.LOCK_UN)
        self._is_alone = False


def is_alone(item: pytest.Item | None) -> bool:
    return item is not None and item.get_closest_marker("alone") is not None
