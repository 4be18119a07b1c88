"""Hearing at once that a job was cancelled. For speed only: without Redis the next heartbeat learns it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import structlog

from platform_kit.contract.access import Notice, NoticeKind
from platform_kit.plumbing.notices import listen

PAUSE_SECONDS = 5.0

Wake = Callable[[], None]

log = structlog.get_logger(__name__)


class JobNotices:
    """One thread for the whole process listens; `hearing` says who wants to be woken, and for which job."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sleepers: list[tuple[UUID, Wake]] = []
        self._closing = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._listen, name="notices", daemon=True)
        self._thread.start()

    @contextmanager
    def hearing(self, job_id: UUID, wake: Wake) -> Iterator[None]:
        sleeper = (job_id, wake)
        self._sleepers.append(sleeper)
        try:
            yield
        finally:
            self._sleepers.remove(sleeper)

    def close(self) -> None:
        self._closing.set()
        self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join()
        self._loop.close()

    def _cancel(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()

    def _listen(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._listen_once())

    async def _listen_once(self) -> None:
        try:
            await listen(self._url, self._hear)
        except Exception:  # the edge of a thread: nobody else would hear of it
            log.exception("notices.failed")
            await asyncio.sleep(PAUSE_SECONDS)

    def _hear(self, notices: Sequence[Notice]) -> None:
        jobs = {notice.id for notice in notices if notice.kind is NoticeKind.JOB}
        for job_id, wake in list(self._sleepers):
            if job_id in jobs:
                wake()
