"""Stopping, being killed, and starting again: the data stay, and no process is left behind."""

import time
from pathlib import Path

import pytest

from tests.end_to_end.stack import Stack
from tests.verify.loop import body_of
from tests.verify.scene import Scene

pytestmark = pytest.mark.timeout(300)


def test_a_platform_survives_a_stop_and_the_death_of_its_supervisor(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "data")
    stack.start()
    with Scene(stack.api_url, stack.ml_url, stack.data_dir) as scene:
        survive(stack, scene)


def survive(stack: Stack, scene: Scene) -> None:
    row, endpoint = scene.rows[0].features, scene.model["endpoint"]
    answer = body_of(scene.maker.predict(endpoint, row))["confidence_score"]

    first = list(stack.pids().values())
    assert stack.stop() == 0
    assert not any(map(is_alive, first))

    stack.start()
    assert body_of(scene.maker.predict(endpoint, row))["confidence_score"] == answer

    second = list(stack.pids().values())
    stack.kill_supervisor()
    stack.start()
    assert body_of(scene.maker.predict(endpoint, row))["confidence_score"] == answer
    deadline = time.monotonic() + 10
    while any(map(is_alive, second)):
        assert time.monotonic() < deadline, "processes of the killed platform still run"
        time.sleep(0.2)
    assert stack.stop() == 0


def test_a_second_platform_on_the_same_directory_is_refused(stack: Stack) -> None:
    second = Stack(stack.data_dir)
    second.log = stack.log.with_suffix(".second")

    try:
        with pytest.raises(AssertionError, match="already runs"):
            second.start()
    finally:
        second.stop()


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
