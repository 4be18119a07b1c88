"""One process of the plant, with its log in a file, and the keeper that starts again whatever ended unasked."""

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from embedded.errors import NotReady
from embedded.launch import launched
from embedded.recipe import Recipe

LOOK_SECONDS = 0.05
PAUSE_SECONDS = 0.5
"""Between an end and the next start; Docker and the supervisor wait about as long."""
READY_SECONDS = 60.0
STOP_SECONDS = 15.0


class Program:
    """Kept running by its keeper from `start` to `stop`, whoever kills it meanwhile.

    says: what it logs when it is ready, for one that listens nowhere.
    """

    def __init__(self, recipe: Recipe, *, folder: Path, base: Mapping[str, str], says: str = "") -> None:
        self.recipe, self.name, self._says = recipe, recipe.name, says
        self.log = folder / f"{recipe.name}.log"
        self._base = base
        self._process: subprocess.Popen[bytes] | None = None
        self._ended_at, self._log_start = 0.0, 0
        self._is_wanted = False
        self._turn = threading.Lock()

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        self.want()
        self.await_ready()

    def want(self) -> None:
        """Let the keeper start it, without waiting for that."""
        self._is_wanted = True

    def run_once(self) -> None:
        """For one that does a piece of work and ends."""
        environment = {**self._base, **self.recipe.environment}
        with self.log.open("ab") as log:
            code = subprocess.run(
                self.recipe.command,
                cwd=self.recipe.directory,
                env=environment,
                stdout=log,
                stderr=log,
                check=False,
            ).returncode
        assert code == 0, f"{self.name} failed:\n{self.tail()}"

    def await_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            assert time.monotonic() < deadline, f"{self.name} is not ready:\n{self.tail()}"
            time.sleep(LOOK_SECONDS)

    def is_ready(self) -> bool:
        if self.pid is None:
            return False
        if self._says:
            return self._says in self.said()
        try:
            asyncio.run(_once(self.recipe))
        except NotReady:
            return False
        return True

    def said(self) -> str:
        """What it logged since its last start."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def tail(self, lines: int = 25) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(f"  {self.name}: {line[:600]}" for line in text.splitlines()[-lines:])

    def kill(self) -> None:
        """`kill -9` of this one process; the keeper starts it again."""
        self.signal(signal.SIGKILL)

    def freeze(self) -> None:
        """It keeps its connections, and answers nothing."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        if (pid := self.pid) is not None:
            os.kill(pid, number)

    def restart(self, **settings: str) -> None:
        """With these settings instead of those it had."""
        self.stop()
        self.recipe = replace(self.recipe, environment={**self.recipe.environment, **settings})
        self.start()

    def await_end(self, pid: int) -> None:
        """Until the process that had this pid is gone."""
        deadline = time.monotonic() + STOP_SECONDS
        while self.pid == pid:
            assert time.monotonic() < deadline, f"{self.name} does not end:\n{self.tail()}"
            time.sleep(LOOK_SECONDS)

    def stop(self, number: int | None = None) -> None:
        """For good, until `start`."""
        with self._turn:
            self._is_wanted = False
        if self._process is None:
            return
        self.signal(number or self.recipe.stop_signal)
        self.thaw()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self.clear()

    def clear(self) -> None:
        """End whatever it started in its group."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def keep(self) -> None:
        """The keeper's turn: start it if it should run and does not."""
        with self._turn:
            self._keep()

    def _keep(self) -> None:
        if not self._is_wanted or self.pid is not None:
            return
        if self._process is not None and not self._ended_at:
            self._ended_at = time.monotonic()
            self.clear()
        if time.monotonic() - self._ended_at < PAUSE_SECONDS:
            return
        self._launch()
        self._ended_at = 0.0

    def _launch(self) -> None:
        if self.recipe.prepare:
            self.recipe.prepare()
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                launched(
                    self.recipe.command,
                    identity=self.recipe.identity,
                    directory=self.recipe.directory,
                    death_signal=self.recipe.death_signal,
                ),
                cwd="/",
                env={**self._base, "SERVICE_NAME": self.name, **self.recipe.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


class Keeper:
    """Starts every program from one thread that lasts: the kernel ends a child with the thread that made it."""

    def __init__(self) -> None:
        self.programs: list[Program] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        for program in reversed(self.programs):
            program.stop(signal.SIGKILL)
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(LOOK_SECONDS):
            for program in list(self.programs):
                program.keep()


async def _once(recipe: Recipe) -> None:
    await recipe.ready()


def descendants(pid: int) -> list[int]:
    """Children of a process and theirs, as they are now."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in (task / "children").read_text().split()]
    return found + [each for child in found for each in descendants(child)]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
