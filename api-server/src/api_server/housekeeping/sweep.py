"""Removes objects that no row refers to any more: of uploads that were cut off, of trainings that did not succeed, of
datasets and models that were deleted.

Only what is old may go: an object is written before the row that refers to it. Its age is told by the storage's own
clock. Doing it again, or twice at once, is safe.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Protocol
from uuid import UUID

import structlog

from api_server.database import AsyncSession, Sessions, transaction
from api_server.datasets import service as datasets
from api_server.registry import service as registry
from platform_kit.plumbing.object_store import ObjectMissing, ObjectStore, StorageUnavailable, StoredObject

PAGE = 500
BATCH = 100
MOST_SHOWN = 20

log = structlog.get_logger(__name__)


class Referring(Protocol):
    """A room whose rows refer to objects."""

    async def keys_in_use(self, session: AsyncSession, keys: Sequence[str]) -> set[str]: ...

    async def keys_after(
        self, session: AsyncSession, version_id: UUID | None, most: int
    ) -> Sequence[tuple[UUID, list[str]]]: ...


ROOMS: dict[str, Referring] = {"datasets/": datasets, "artifacts/": registry}
"""Who refers to what is under a prefix. What is under another one is not ours, and is not touched."""


@dataclass
class Found:
    """objects: all that were looked at; young_objects: nobody's, but young; missing_objects: rows refer to them."""

    objects: int = 0
    orphaned_objects: int = 0
    orphaned_bytes: int = 0
    young_objects: int = 0
    missing_objects: int = 0

    def counts(self) -> dict[str, int]:
        return asdict(self)


@dataclass
class Sweep:
    """dry_run: only look. orphan, missing: told of each one, for those who want to see more than counts."""

    sessions: Sessions
    store: ObjectStore
    grace_seconds: float
    dry_run: bool = False
    stage: Callable[[float, str], None] = lambda percent, stage: None
    orphan: Callable[[StoredObject], None] = lambda found: None
    missing: Callable[[str], None] = lambda key: None
    found: Found = field(default_factory=Found)

    async def run(self) -> Found:
        steps = [
            *((self._sweep, "looking for orphans in", prefix) for prefix in ROOMS),
            *((self._look_for_missing, "looking for what is missing in", prefix) for prefix in ROOMS),
        ]
        for number, (step, doing, prefix) in enumerate(steps):
            self.stage(100 * number / len(steps), f"{doing} {prefix}")
            await step(prefix)
        return self.found

    async def _sweep(self, prefix: str) -> None:
        room, listing = ROOMS[prefix], self.store.list_objects(prefix)
        now = await asyncio.to_thread(self.store.clock)
        if now is None:
            raise StorageUnavailable("The storage does not say when its objects were written.")
        before = now - timedelta(seconds=self.grace_seconds)
        orphans: list[StoredObject] = []
        while page := await asyncio.to_thread(_next, listing, PAGE):
            self.found.objects += len(page)
            used = await self._in_use(room, [each.key for each in page])
            nobodys = [each for each in page if each.key not in used]
            old = [each for each in nobodys if each.written <= before]
            self.found.young_objects += len(nobodys) - len(old)
            orphans += old
            while len(orphans) >= BATCH:
                await self._remove(room, orphans[:BATCH])
                del orphans[:BATCH]
        await self._remove(room, orphans)

    async def _remove(self, room: Referring, orphans: Sequence[StoredObject]) -> None:
        """Look a second time at a few, in the storage and then in the database, and let them go."""
        unchanged = await asyncio.to_thread(self._unchanged, orphans)
        used = await self._in_use(room, [each.key for each in unchanged])
        gone = [each for each in unchanged if each.key not in used]
        if gone and not self.dry_run:
            await asyncio.to_thread(self.store.delete, [each.key for each in gone])
        for each in gone:
            self.orphan(each)
        self.found.orphaned_objects += len(gone)
        self.found.orphaned_bytes += sum(each.size_bytes for each in gone)

    def _unchanged(self, objects: Sequence[StoredObject]) -> list[StoredObject]:
        """Those that nobody has written again since: whoever does is about to refer to them."""
        return [each for each in objects if self._is_unchanged(each)]

    def _is_unchanged(self, listed: StoredObject) -> bool:
        """Some servers tell fractions of a second in lists, and none does for a single object."""
        try:
            written = self.store.written(listed.key)
        except ObjectMissing:
            return False
        return written is not None and written.replace(microsecond=0) == listed.written.replace(microsecond=0)

    async def _look_for_missing(self, prefix: str) -> None:
        """Count what rows refer to and the storage has not; the rows stay: somebody may put the objects back."""
        room, last_id = ROOMS[prefix], None
        while True:
            async with transaction(self.sessions) as session:
                page = await room.keys_after(session, last_id, most=PAGE)
            if not page:
                return
            last_id = page[-1][0]
            keys = list(dict.fromkeys(key for _, keys in page for key in keys))
            absent = await asyncio.to_thread(self._absent, keys)
            # A version may have been deleted meanwhile.
            for key in sorted(await self._in_use(room, absent)):
                self._note_missing(key)

    def _absent(self, keys: Sequence[str]) -> list[str]:
        return [each for each in keys if not self.store.exists(each)]

    def _note_missing(self, key: str) -> None:
        self.found.missing_objects += 1
        self.missing(key)
        if self.found.missing_objects <= MOST_SHOWN:
            log.warning("sweep.object_missing", key=key)

    async def _in_use(self, room: Referring, keys: Sequence[str]) -> set[str]:
        if not keys:
            return set()
        async with transaction(self.sessions) as session:
            return await room.keys_in_use(session, keys)


def _next(listing: Iterator[StoredObject], most: int) -> list[StoredObject]:
    return list(islice(listing, most))
