"""Starts processes in order, keeps them running, and stops them."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from embedded import orphans
from embedded.errors import StartFailed
from embedded.logs import Output, Terminal
from embedded.orphans import Journal
from embedded.process import Process
from embedded.recipe import Recipe, Tier

START_SECONDS = 180.0
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
STEADY_SECONDS = 30.0
"""A process that ran so long is healthy: after its next death it starts again without delay."""
DEATHS_AT_START = 5
"""A process that dies so often before it was ever ready will not get well by itself."""


class Supervisor:
    def __init__(
        self,
        recipes: Iterable[Recipe],
        *,
        logs: Path,
        journal: Path,
        run_id: str,
        environment: Mapping[str, str],
        terminal: Terminal | None,
    ) -> None:
        self._run_id, self._terminal = run_id, terminal
        record = Journal(journal, run_id=run_id)
        base = {**environment, orphans.RUN_VARIABLE: run_id}
        self.processes = {
            recipe.name: Process(
                recipe,
                output=Output(
                    recipe.name, logs / f"{recipe.name}.log", terminal=terminal, shows=recipe.shows
                ),
                journal=record,
                base=base,
            )
            for recipe in recipes
        }
        self._ready = {name: asyncio.Event() for name in self.processes}
        self._keepers: list[asyncio.Task[None]] = []
        self._failure: asyncio.Future[str]

    async def start(self) -> None:
        """Start everything; returns when all that is awaited is ready."""
        self._failure = asyncio.get_running_loop().create_future()
        self._keepers = [asyncio.create_task(self._keep(process)) for process in self.processes.values()]
        awaited = [name for name, process in self.processes.items() if process.recipe.awaited]
        all_ready = asyncio.create_task(self._until_ready(awaited))
        ends: set[asyncio.Future[Any]] = {all_ready, self._failure}
        await asyncio.wait(ends, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        all_ready.cancel()
        if self._failure.done():
            raise StartFailed(self._failure.result())
        late = [
            process
            for name, process in self.processes.items()
            if name in awaited and not self._is_ready(name)
        ]
        if late:
            raise StartFailed(
                self._report(late[0], f"is not ready after {START_SECONDS:g} s: {late[0].trouble}")
            )

    async def stop(self) -> None:
        """End everything: workers, then the web, then the servers they need."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for tier in sorted(Tier, reverse=True):
            await asyncio.gather(
                *(each.stop() for each in self.processes.values() if each.recipe.tier == tier)
            )
        await asyncio.to_thread(orphans.end_strays, self._run_id)
        for process in self.processes.values():
            process.output.close()

    def kill(self) -> None:
        """End everything now; what they have not saved is lost, as in a power cut."""
        for process in self.processes.values():
            process.kill()

    def sick(self) -> list[str]:
        """A paragraph for each process that does not run or never was ready, with the end of its log."""
        return [
            self._report(process, f"is not well: {process.trouble}")
            for name, process in self.processes.items()
            if not process.recipe.once and (process.pid is None or not self._is_ready(name))
        ]

    async def _until_ready(self, names: Iterable[str]) -> None:
        for name in names:
            await self._ready[name].wait()

    async def _keep(self, process: Process) -> None:
        await self._until_ready(process.recipe.needs)
        run = self._run_once if process.recipe.once else self._run_forever
        try:
            await run(process)
        except StartFailed as reason:
            failure = str(reason)
        except Exception as error:  # nobody waits for this task: what it does not tell is never known
            failure = self._report(process, f"cannot be kept running: {error!r}")
        else:
            return
        if not self._failure.done():
            self._failure.set_result(failure)
        self._say(failure)

    async def _run_once(self, process: Process) -> None:
        for attempt in range(DEATHS_AT_START):
            await process.start()
            if await process.wait() == 0:
                self._ready[process.recipe.name].set()
                return
            await asyncio.sleep(_pause(attempt))
        raise StartFailed(self._report(process, f"failed {DEATHS_AT_START} times: {process.trouble}"))

    async def _run_forever(self, process: Process) -> None:
        deaths = 0
        while True:
            await self._live(process)
            deaths = 0 if process.seconds_up > STEADY_SECONDS else deaths + 1
            if (
                deaths >= DEATHS_AT_START
                and process.recipe.awaited
                and not self._is_ready(process.recipe.name)
            ):
                raise StartFailed(
                    self._report(process, f"died {deaths} times at its start: {process.trouble}")
                )
            pause = _pause(deaths - 1)
            self._say(f"{process.recipe.name} died ({process.trouble}); it starts again in {pause:g} s")
            await asyncio.sleep(pause)

    async def _live(self, process: Process) -> None:
        """From start to death of a process; says when it is ready.

        Raises StartFailed if it cannot be started and never was; later that counts as a death.
        """
        try:
            await process.start()
        except (StartFailed, OSError) as reason:
            process.trouble = str(reason)
            if not self._is_ready(process.recipe.name):
                raise StartFailed(f"{process.recipe.name} cannot start: {reason}") from reason
            return
        probing = asyncio.create_task(self._announce(process))
        try:
            await process.wait()
        finally:
            probing.cancel()

    async def _announce(self, process: Process) -> None:
        await process.until_ready()
        first = not self._is_ready(process.recipe.name)
        self._ready[process.recipe.name].set()
        if not first:
            self._say(f"{process.recipe.name} is back (process {process.pid})")

    def _is_ready(self, name: str) -> bool:
        return self._ready[name].is_set()

    def _report(self, process: Process, what: str) -> str:
        lines = "\n".join(f"    {line}" for line in process.output.tail) or "    (it wrote nothing)"
        return f"{process.recipe.name} {what}\n  The end of its log:\n{lines}"

    def _say(self, sentence: str) -> None:
        if self._terminal:
            self._terminal.log("platform", sentence)


def _pause(deaths: int) -> float:
    return float(min(FIRST_PAUSE_SECONDS * 2 ** max(deaths, 0), LONGEST_PAUSE_SECONDS))
