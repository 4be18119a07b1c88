"""Tests in several processes: what they have in common, and what is told of all of them in the end."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from tests.side_by_side import TOGETHER, Turns, unit_of

REPOSITORY = Path(__file__).parents[1]
NEEDS_NGINX = "tests/nginx/test_headers.py"


def ran(*arguments: str, path: str) -> str:
    """What pytest says of tests that it runs with no other programs than those of `path`."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=REPOSITORY,
        env={**{name: each for name, each in os.environ.items() if "PYTEST" not in name}, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


class TestNotRun:
    def test_is_told_once_of_each_test_whichever_process_had_it(self, tmp_path: Path) -> None:
        said = ran("-n", "2", NEEDS_NGINX, "tests/test_proxy.py", path=str(tmp_path))

        told = [line for line in said.splitlines() if line.startswith("not run: ")]
        assert told, said
        assert len(set(told)) == len(told)
        assert all(NEEDS_NGINX in line and line.endswith("needs nginx") for line in told)
        assert f"{len(told)} skipped" in said


class TestProcessesFor:
    def test_a_few_tests_are_none(self, tmp_path: Path) -> None:
        said = ran("-n", "auto", "tests/contract/test_access.py", path=str(tmp_path))

        assert "workers" not in said
        assert " passed" in said


class TestUnitOf:
    def test_is_the_folder_that_shares_a_platform_or_else_the_file(self) -> None:
        assert unit_of("tests/end_to_end/test_loop.py::TestLoop::test_x[a::b]") == "tests/end_to_end/"
        assert (
            unit_of("tests/api_server/auth/test_router.py::test_x") == "tests/api_server/auth/test_router.py"
        )

    @pytest.mark.parametrize("folder", TOGETHER)
    def test_knows_folders_that_are_there(self, folder: str) -> None:
        assert (REPOSITORY / folder / "__init__.py").exists()


class TestTurns:
    """Each `Turns` stands for a process."""

    @pytest.fixture
    def pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor()

    def test_are_taken_by_many_at_once(self, tmp_path: Path) -> None:
        with Turns(tmp_path).turn(alone=False), Turns(tmp_path).turn(alone=False):
            pass

    @pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
    def test_of_who_is_alone_are_theirs(
        self, tmp_path: Path, pool: ThreadPoolExecutor, first: bool, second: bool
    ) -> None:
        begun = Event()

        def other() -> None:
            with Turns(tmp_path).turn(alone=second):
                begun.set()

        with Turns(tmp_path).turn(alone=first):
            running = pool.submit(other)
            assert not begun.wait(0.2)
        running.result(10)

    def test_are_not_given_to_others_while_somebody_waits_to_be_alone(
        self, tmp_path: Path, pool: ThreadPoolExecutor
    ) -> None:
        order: list[str] = []

        def take(name: str, *, alone: bool) -> None:
            with Turns(tmp_path).turn(alone=alone):
                order.append(name)

        with Turns(tmp_path).turn(alone=False):
            waiting = pool.submit(take, "alone", alone=True)
            assert not waiting.done()
            Event().wait(0.2)
            late = pool.submit(take, "late", alone=False)
            Event().wait(0.2)
        waiting.result(10)
        late.result(10)

        assert order == ["alone", "late"]

    def test_go_on_for_those_who_are_alone_one_after_the_other(
        self, tmp_path: Path, pool: ThreadPoolExecutor
    ) -> None:
        mine, begun = Turns(tmp_path), Event()

        def other() -> None:
            with Turns(tmp_path).turn(alone=False):
                begun.set()

        with mine.turn(alone=True, next_alone=True):
            running = pool.submit(other)
        assert not begun.wait(0.2)
        with mine.turn(alone=True):
            assert not begun.is_set()
        running.result(10)
