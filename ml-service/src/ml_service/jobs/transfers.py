"""Bytes between object storage and the folder of an attempt. Storage may be slow, frozen or away."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from ml_service.jobs.heart import News
from ml_service.jobs.watch import Interrupted, Watch
from platform_kit.contract.jobs import DatasetRef, Outcome, job_problem
from platform_kit.plumbing.object_store import DigestMismatch, ObjectMissing, ObjectStore, StorageUnavailable

LONGEST_PAUSE_SECONDS = 5.0
FRESH = timedelta(hours=1)
FETCHING = "fetching the dataset"
FETCHED_PERCENT = 5.0
STEP_PERCENT = 0.5

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class Abandoned(Exception):
    """Nobody waits for this transfer any more. It ends a thread, and is seen by nobody."""


class Transfers:
    """A transfer that is given up is left to its thread, which can do no harm: what it writes is in the attempt's
    own folder, or under a key that names its content.
    """

    def __init__(self, store: ObjectStore, watch: Watch, news: News, *, patience_seconds: float) -> None:
        self._store, self._watch, self._news = store, watch, news
        self._patience_seconds = patience_seconds

    def fetch(self, ref: DatasetRef, path: Path) -> None:
        """Raises Interrupted, Fenced."""
        self._news.progress(0, FETCHING)
        arriving = _Arriving(self._news, ref.size_bytes)
        try:
            self._insist(partial(self._store.fetch, ref.key, path, sha256=ref.sha256, arrived=arriving.note))
        except DigestMismatch:
            detail = "The stored dataset is not the one that was uploaded; upload it again."
            raise Interrupted(Outcome.FAILED, job_problem("checksum_mismatch", detail)) from None
        except ObjectMissing:
            detail = "The dataset's file is missing from object storage; upload it again."
            raise Interrupted(Outcome.FAILED, job_problem("file_missing", detail)) from None
        finally:
            arriving.is_abandoned = True

    def put(self, key: str, path: Path) -> None:
        """Store a file under the name of its content; twice is once. Raises Interrupted, Fenced."""
        self._insist(partial(self._put_once, key, path))

    def _put_once(self, key: str, path: Path) -> None:
        """One that is there already may be a leftover about to be swept away: writing it again makes it young."""
        try:
            written = self._store.written(key)
        except ObjectMissing:
            written = None
        if written is None or datetime.now(UTC) - written > FRESH:
            self._store.put_file(key, path)

    def _insist(self, work: Callable[[], Result]) -> Result:
        """Try again with full jitter, for as long as the patience lasts: it counts from the first failure."""
        deadline: float | None = None
        longest = 0.5
        while True:
            try:
                result = self._watch.wait_for(work)
            except StorageUnavailable as error:
                log.warning("job.storage_unavailable", error=str(error)[:200])
            else:
                if deadline is not None:
                    self._news.log("Object storage answers again.")
                return result
            if deadline is None:
                deadline = time.monotonic() + self._patience_seconds
                self._tell_of_trouble()
            if time.monotonic() > deadline:
                raise self._gone()
            self._watch.pause(random.uniform(0, longest))  # noqa: S311  # spreads retries, hides nothing
            longest = min(LONGEST_PAUSE_SECONDS, longest * 2)

    def _tell_of_trouble(self) -> None:
        patience = f"{self._patience_seconds:g}"
        self._news.log(f"Object storage does not answer; trying again for up to {patience} s.", "warning")

    def _gone(self) -> Interrupted:
        detail = (
            f"Object storage did not answer within {self._patience_seconds:g} s. Start it, then train again."
        )
        return Interrupted(Outcome.INTERRUPTED, job_problem("storage_unavailable", detail))


class _Arriving:
    """Tells how much of an object is there; called in the thread of the transfer."""

    def __init__(self, news: News, size_bytes: int) -> None:
        self._news, self._size_bytes = news, max(1, size_bytes)
        self._told = 0.0
        self.is_abandoned = False

    def note(self, arrived_bytes: int) -> None:
        if self.is_abandoned:
            raise Abandoned
        percent = FETCHED_PERCENT * min(1.0, arrived_bytes / self._size_bytes)
        if percent >= self._told + STEP_PERCENT:
            self._told = percent
            self._news.progress(percent, FETCHING)
