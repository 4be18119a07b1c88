"""One process of the platform: start, watch, signal, stop."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping

from embedded.errors import NotReady
from embedded.launch import launched
from embedded.logs import Output
from embedded.orphans import Journal
from embedded.recipe import Recipe

POLL_SECONDS = 0.05
SLOW_POLL_SECONDS = 0.25
FAST_POLLS = 40
CHUNK_BYTES = 65536


class Process:
    def __init__(self, recipe: Recipe, *, output: Output, journal: Journal, base: Mapping[str, str]) -> None:
        self.recipe, self.output = recipe, output
        self._journal, self._base = journal, base
        self._popen: subprocess.Popen[bytes] | None = None
        self._running = False
        self.trouble = "it has not been started"
        """Why it is not ready, as far as one knows."""
        self.seconds_up = 0.0

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._popen.pid if self._popen and self._popen.poll() is None else None

    async def start(self) -> None:
        recipe = self.recipe
        if recipe.prepare:
            await asyncio.to_thread(recipe.prepare)
        # Always from this thread: the kernel sends the death signal when the thread that made a child ends.
        self._popen = subprocess.Popen(  # noqa: ASYNC220  # takes a millisecond
            launched(
                recipe.command,
                identity=recipe.identity,
                directory=recipe.directory,
                death_signal=recipe.death_signal,
            ),
            cwd="/",
            env={**self._base, "SERVICE_NAME": recipe.name, **recipe.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._running = True
        self._journal.started(recipe.name, self._popen.pid, stop_signal=recipe.stop_signal)
        self.trouble = "it runs, but is not ready"
        assert self._popen.stdout
        descriptor = self._popen.stdout.fileno()
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    async def wait(self) -> int:
        """Wait for the end of a started process; returns its exit code, negative for a signal."""
        assert self._popen
        started = time.monotonic()
        while (code := self._popen.poll()) is None:  # noqa: ASYNC110  # the kernel tells nobody else
            await asyncio.sleep(POLL_SECONDS)
        self.seconds_up = time.monotonic() - started
        self._ended(code)
        return code

    async def until_ready(self) -> None:
        """Ask the probe again and again. The caller bounds the time, and watches the process itself."""
        polls = 0
        while True:
            try:
                await self.recipe.ready()
            except NotReady as fact:
                self.trouble = str(fact)
            else:
                self.trouble = ""
                return
            polls += 1
            await asyncio.sleep(POLL_SECONDS if polls < FAST_POLLS else SLOW_POLL_SECONDS)

    async def stop(self) -> None:
        if not self._running:
            return
        self.signal(self.recipe.stop_signal)
        try:
            async with asyncio.timeout(self.recipe.stop_seconds):
                await self.wait()
        except TimeoutError:
            self.kill()
            await self.wait()

    def signal(self, number: int) -> None:
        if self.pid is not None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it and whatever it started in its group, at once."""
        if self._popen and self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    def _ended(self, code: int) -> None:
        assert self._popen
        assert self._popen.stdout
        self._read()
        if not self._popen.stdout.closed:
            self._close_output()
        self.kill()
        self._running = False
        self._journal.ended(self.recipe.name)
        self.trouble = _how(code)

    def _read(self) -> None:
        assert self._popen
        assert self._popen.stdout
        if self._popen.stdout.closed:
            return
        try:
            while content := os.read(self._popen.stdout.fileno(), CHUNK_BYTES):
                self.output.feed(content)
        except BlockingIOError:
            return
        self._close_output()

    def _close_output(self) -> None:
        assert self._popen
        assert self._popen.stdout
        asyncio.get_running_loop().remove_reader(self._popen.stdout.fileno())
        self._popen.stdout.close()


def _how(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"
