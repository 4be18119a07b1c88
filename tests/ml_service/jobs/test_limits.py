"""Jobs that misbehave end with a cause that has a name, and leave no process."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ml_service.jobs import memory
from ml_service.jobs.attempt import Workshop
from ml_service.jobs.family import family
from ml_service.jobs.runner import JobRunner
from platform_kit.contract.jobs import ProfileSpec
from tests.ml_service.jobs.desk import QUEUE, Desk, children, stay

MIB = 2**20
FILL = "held = []\nwhile True: held.append(bytearray(4 * 2**20)); time.sleep(0.002)"
FILL_IN_GRANDCHILD = (
    f"bomb = 'import time\\n' + {FILL!r}\n"
    "# child.py\n"
    "subprocess.Popen([sys.executable, '-S', '-c', bomb, 'child.py'], start_new_session=True).wait()"
)
SHARE = (
    "held = bytearray(os.urandom(2**20) * 60)\n"
    "for _ in range(4):\n"
    "    if os.fork() == 0: time.sleep(2); os._exit(0)\n"
    "for _ in range(4): os.wait()\n"
)


@pytest.fixture
def offer(desk: Desk, csv: bytes, program: Callable[[str], None]) -> Callable[..., None]:
    def put(then: str, **limits: float) -> None:
        program(stay("fitting", then))
        desk.offer(ProfileSpec(dataset=desk.dataset(csv)), **limits)

    return put


Offer = Callable[..., None]


class TestMisbehaviour:
    def test_of_a_job_that_kills_itself_names_the_signal(
        self, desk: Desk, runner: JobRunner, offer: Offer
    ) -> None:
        offer("os.kill(os.getpid(), 9)")

        runner.run(QUEUE)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("interrupted", "child_crashed")
        assert "signal 9" in desk.end["error"]["detail"]

    def test_of_a_job_that_dies_and_leaves_somebody_on_its_line_is_a_crash(
        self, desk: Desk, runner: JobRunner, offer: Offer
    ) -> None:
        """The other one has a session of its own, holds the line to the worker, and never ends."""
        offer(
            "if os.fork() == 0: os.setsid(); time.sleep(60)\ntime.sleep(0.8)\nos.kill(os.getpid(), 9)",
            time_limit_seconds=20,
        )

        runner.run(QUEUE)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("interrupted", "child_crashed")
        assert children() == []

    @pytest.mark.parametrize(
        "then",
        [
            "while True: pass",
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nctypes.CDLL(None).sleep(60)",
        ],
        ids=["a loop", "native code that ignores signals"],
    )
    def test_of_a_job_that_never_ends_is_a_timeout(
        self, desk: Desk, runner: JobRunner, offer: Offer, then: str
    ) -> None:
        offer(then, time_limit_seconds=0.8)

        runner.run(QUEUE)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("failed", "timeout")
        assert "The job took longer than 0.8 s." in desk.logs()
        assert children() == []

    @pytest.mark.parametrize("then", [FILL, FILL_IN_GRANDCHILD], ids=["itself", "in a process of its own"])
    def test_of_a_job_that_fills_the_memory_is_out_of_memory(
        self, desk: Desk, runner: JobRunner, offer: Offer, then: str
    ) -> None:
        offer(then, memory_limit_bytes=150 * MIB)

        runner.run(QUEUE)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("failed", "out_of_memory")
        assert "more than 150 MiB" in desk.end["error"]["detail"]
        assert children() == []

    def test_of_a_job_without_a_limit_ends_at_the_share_of_the_worker(
        self, desk: Desk, workshop: Workshop, offer: Offer
    ) -> None:
        offer(FILL)

        JobRunner(replace(workshop, memory_limit_bytes=100 * MIB), "worker-1").run(QUEUE)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("failed", "out_of_memory")
        assert "more than 100 MiB" in desk.end["error"]["detail"]

    @pytest.mark.parametrize("own", [2**50, 2**63 - 1])
    def test_of_a_job_that_may_have_more_than_the_worker_ends_at_the_share_too(
        self, desk: Desk, workshop: Workshop, offer: Offer, own: int
    ) -> None:
        offer(FILL, memory_limit_bytes=own)

        JobRunner(replace(workshop, memory_limit_bytes=100 * MIB), "worker-1").run(QUEUE)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("failed", "out_of_memory")

    def test_is_not_seen_in_memory_that_processes_share(
        self, desk: Desk, runner: JobRunner, offer: Offer
    ) -> None:
        """60 MiB seen from five processes are 60 MiB."""
        offer(SHARE, memory_limit_bytes=150 * MIB)

        runner.run(QUEUE)

        assert desk.end["error"]["code"] == "child_crashed"  # it ended without a result, in its own time

    def test_of_the_machine_is_told_from_that_of_the_job(
        self, desk: Desk, runner: JobRunner, offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel says how often it has killed for want of memory; here a file says it in its place."""
        events = tmp_path / "memory.events"
        events.write_text("oom 0\noom_kill 3\n")
        own = tmp_path / "cgroup"
        own.write_text("0::/\n")
        monkeypatch.setattr(memory, "CGROUPS", tmp_path)
        monkeypatch.setattr(memory, "OWN_CGROUP", own)
        offer(f"open({str(events)!r}, 'w').write('oom 1\\noom_kill 4\\n')\nos.kill(os.getpid(), 9)")

        runner.run(QUEUE)

        assert (desk.end["outcome"], desk.end["error"]["code"]) == ("interrupted", "out_of_memory")


class TestAvailableBytes:
    def test_are_those_of_the_container_if_it_has_fewer(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inner = tmp_path / "platform" / "worker"
        inner.mkdir(parents=True)
        own = tmp_path / "cgroup"
        own.write_text("0::/platform/worker\n")
        monkeypatch.setattr(memory, "CGROUPS", tmp_path)
        monkeypatch.setattr(memory, "OWN_CGROUP", own)
        of_machine = memory.available_bytes()
        (inner / "memory.max").write_text("max\n")
        (tmp_path / "platform" / "memory.max").write_text(f"{300 * MIB}\n")

        assert memory.available_bytes() == 300 * MIB
        assert of_machine > 300 * MIB


class TestFamily:
    def test_has_those_who_left_the_session(self) -> None:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            grandchild = os.fork()
            if grandchild == 0:
                os.setsid()
                os.write(writer, b"x")
            signal.pause()
        os.read(reader, 1)
        os.close(reader)
        os.close(writer)

        members = family(pid)
        for member in members:
            member.kill()
        os.waitpid(pid, 0)

        assert len(members) == 2
        assert len({member.session for member in members}) == 2
