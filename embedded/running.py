"""The platform for tests and scripts: a context manager that needs no event loop of the caller's."""

import asyncio
import signal
import threading
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from embedded.services import SERVICES
from embedded.stack import Options, Stack

STOP_SECONDS = 30.0


class Platform:
    """`with Platform(directory, services=()) as platform:` gives real servers; by default the services as well.

    Entering waits until all is ready; raises StartFailed, with the end of the sick process's log, if it never is.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        api_port: int = 0,
        ml_port: int = 0,
        services: Collection[str] = SERVICES,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self._stack = Stack(
            Options(
                data_dir=Path(data_dir),
                api_port=api_port,
                ml_port=ml_port,
                services=services,
                extra=extra or {},
            )
        )
        self._started: Future[None] = Future()
        self._stop = asyncio.Event()
        # Not the caller's thread: children get a death signal when the thread that started them ends.
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._live()), name="platform", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # its loop has ended by itself
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_SECONDS)

    @property
    def env(self) -> dict[str, str]:
        """The settings of all our processes, secrets included."""
        return self._stack.settings

    @property
    def api_url(self) -> str:
        return self._stack.addresses.api_url

    @property
    def ml_url(self) -> str:
        return self._stack.addresses.ml_url

    @property
    def credentials(self) -> dict[str, Any]:
        """The content of credentials.json."""
        return self._stack.credentials

    @property
    def admin_database_url(self) -> str:
        """Postgres as its superuser, to make databases for tests."""
        return f"postgresql://postgres:{self._stack.secrets.postgres_admin}@127.0.0.1:{self._stack.ports['postgres']}/postgres"

    @property
    def names(self) -> list[str]:
        return list(self._stack.supervisor.processes)

    def pid(self, name: str) -> int | None:
        """None while it does not run, for instance between a death and the next start."""
        return self._stack.supervisor.processes[name].pid

    def is_ready(self, *names: str) -> bool:
        """Whether all of these processes run and do their work, as far as the supervisor has heard."""
        processes = self._stack.supervisor.processes
        return all(processes[name].pid is not None and not processes[name].trouble for name in names)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to one process; if that ends it, it is started again."""
        self._stack.supervisor.processes[name].signal(number)

    def log(self, name: str) -> str:
        return (self._stack.layout.logs / f"{name}.log").read_text(errors="replace")

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            async with self._stack:
                self._started.set_result(None)
                await self._stop.wait()
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)
