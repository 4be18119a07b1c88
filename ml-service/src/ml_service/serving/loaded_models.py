"""The versions in memory: the one that was not asked for longest leaves when there is no room."""

import asyncio
import statistics
import time
import zipfile
from collections import OrderedDict
from collections.abc import Awaitable, Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import structlog

from ml_service.artifacts.predictor import Predictor
from ml_service.artifacts.problems import CorruptArtifact
from ml_service.explanations.explainer import Explainer
from ml_service.serving import metrics
from ml_service.serving.errors import ModelUnavailable
from ml_service.serving.garbage import settle
from ml_service.serving.scoring import Lane
from ml_service.serving.servable import Servable
from ml_service.serving.version_store import VersionStore
from platform_kit.contract.artifact import Manifest, ManifestRef
from platform_kit.contract.inputs import RowChecker
from platform_kit.contract.serving_options import ServingOptions
from platform_kit.plumbing.object_store import DigestMismatch, ObjectMissing, StorageUnavailable

KEPT_SERVABLES = 8
"""Of one version: as many configs as it is deployed with at the same time, and some from before."""
BYTES_OF_A_VERSION = 48 * 1024
BYTES_PER_CONTRACT_BYTE = 30
BYTES_PER_FILE_BYTE = 1.5
"""What a loaded version takes: a little, and so many times its contract as JSON and its files as they are unpacked.
Measured over all algorithms (docs/predicting.md)."""

Found = TypeVar("Found")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, repr=False)
class LoadedVersion:
    """A version that can answer. Requests under way keep the one they began with, whatever leaves memory meanwhile.

    lane: how it is doing; explaining: the same for its explanations, which take longer.
    load_seconds: what loading and the first answers took.
    """

    manifest: Manifest
    digest: str
    predictor: Predictor
    memory_bytes: int
    load_seconds: float = 0.0
    lane: Lane = field(default_factory=Lane)
    explaining: Lane = field(default_factory=Lane)
    _servables: dict[str, Servable] = field(default_factory=dict)

    @cached_property
    def explainer(self) -> Explainer:
        return Explainer(self.manifest, self.predictor)

    def under(self, options: ServingOptions, name: str) -> Servable:
        """The version as a deployment answers with it. name: of these options, unlike all others'."""
        found = self._servables.get(name)
        if found is None:
            if len(self._servables) >= KEPT_SERVABLES:
                del self._servables[next(iter(self._servables))]
            found = self._servables[name] = Servable(self.manifest, options)
        return found


def load(manifest: Manifest, digest: str, folder: Path) -> LoadedVersion:
    """Load a version and let it answer its golden rows once, which shows how long it takes. Blocks.

    Raises CorruptArtifact.
    """
    began = time.perf_counter()
    predictor = Predictor(manifest, folder)
    lane = Lane()
    lane.seconds_per_row = _pace(manifest, predictor)
    return LoadedVersion(
        manifest=manifest,
        digest=digest,
        predictor=predictor,
        memory_bytes=_memory_bytes(manifest, folder),
        load_seconds=time.perf_counter() - began,
        lane=lane,
    )


def _memory_bytes(manifest: Manifest, folder: Path) -> int:
    contract = BYTES_PER_CONTRACT_BYTE * len(manifest.contract.model_dump_json())
    unpacked = sum(_unpacked_bytes(folder / each.name) for each in manifest.files)
    return BYTES_OF_A_VERSION + contract + round(BYTES_PER_FILE_BYTE * unpacked)


def _unpacked_bytes(path: Path) -> int:
    """A forest's file is packed seven times smaller than the forest."""
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(each.file_size for each in archive.infolist())


def _pace(manifest: Manifest, predictor: Predictor) -> float:
    """Seconds of the processor for one row; 0 without a golden row.

    What is wrong with such a row is for the proof to say.
    """
    checker, taken = RowChecker(manifest.contract), []
    for golden in manifest.golden_rows:
        checked = checker.check(golden.input, pointer=())
        if checked.errors:
            continue
        began = time.thread_time()
        try:
            predictor.score(predictor.encode([checked.values]))
        except ArithmeticError:
            continue
        taken.append(time.thread_time() - began)
    return statistics.median(taken) if taken else 0.0


class LoadedModels:
    """What fits is kept. Pinned versions stay, also when they alone take more than there is."""

    def __init__(self, versions: VersionStore, *, entries: int, most_bytes: int) -> None:
        self._versions, self.entries, self._most_bytes = versions, entries, most_bytes
        self._loaded: OrderedDict[str, LoadedVersion] = OrderedDict()
        self._loading: dict[str, asyncio.Task[LoadedVersion]] = {}
        self._pinned: Collection[str] = ()

    def pin(self, pinned: Collection[str]) -> None:
        """Name by the SHA-256 of their manifests the versions that must not leave."""
        self._pinned = frozenset(pinned)

    def is_pinned(self, ref: ManifestRef) -> bool:
        return ref.sha256 in self._pinned

    def find(self, ref: ManifestRef) -> LoadedVersion | None:
        """The version if it is in memory, without counting as a use of it."""
        return self._loaded.get(ref.sha256)

    def used(self, ref: ManifestRef) -> LoadedVersion | None:
        """The version if it is in memory; it is now the one that was asked for last."""
        found = self._loaded.get(ref.sha256)
        if found is not None:
            self._loaded.move_to_end(ref.sha256)
        return found

    async def get(self, ref: ManifestRef) -> LoadedVersion:
        """The version, loaded if need be; many callers wait for one load. Raises ModelUnavailable."""
        return await _or_unavailable(self.load(ref))

    async def load(self, ref: ManifestRef) -> LoadedVersion:
        """As `get`, with the errors of storage and of the artifact themselves."""
        loaded = self.used(ref)
        if loaded is not None:
            return loaded
        return await self._loaded_once(ref)

    def unload(self, ref: ManifestRef) -> bool:
        """Take a version out of memory; False: it was not there. The next request loads it again."""
        found = self._loaded.pop(ref.sha256, None)
        self._count()
        return found is not None

    async def reload(self, ref: ManifestRef) -> LoadedVersion:
        """Fetch the version from storage again; only then it takes the place of the one in memory.

        Raises ModelUnavailable.
        """
        await _or_unavailable(asyncio.to_thread(self._versions.renew, ref))
        return await _or_unavailable(self._loaded_once(ref))

    async def _loaded_once(self, ref: ManifestRef) -> LoadedVersion:
        task = self._loading.get(ref.sha256)
        if task is None:
            task = asyncio.create_task(self._load(ref))
            self._loading[ref.sha256] = task
            task.add_done_callback(lambda _: self._loading.pop(ref.sha256, None))
        return await asyncio.shield(task)

    async def _load(self, ref: ManifestRef) -> LoadedVersion:
        started = time.perf_counter()
        try:
            loaded = await asyncio.to_thread(self._open, ref)
        except Exception as error:
            metrics.LOAD_FAILURES.labels(reason=type(error).__name__).inc()
            log.warning("model.load_failed", digest=ref.digest, error=repr(error)[:300])
            raise
        seconds = time.perf_counter() - started
        metrics.LOAD_SECONDS.labels(framework=loaded.manifest.framework).observe(seconds)
        self._loaded[ref.sha256] = loaded
        self._make_room(keep=ref.sha256)
        return loaded

    def _open(self, ref: ManifestRef) -> LoadedVersion:
        manifest, folder = self._versions.open(ref)
        loaded = load(manifest, ref.digest, folder)
        settle()
        return loaded

    def _make_room(self, *, keep: str) -> None:
        leaving = [each for each in self._loaded if each != keep and each not in self._pinned]
        for name in leaving:
            if len(self._loaded) <= self.entries and self._size <= self._most_bytes:
                break
            del self._loaded[name]
        self._count()

    @property
    def _size(self) -> int:
        return sum(each.memory_bytes for each in self._loaded.values())

    def _count(self) -> None:
        metrics.LOADED.set(len(self._loaded))
        metrics.LOADED_BYTES.set(self._size)


async def _or_unavailable(loading: Awaitable[Found]) -> Found:
    """What keeps a version from being loaded, in the words of an answer. Raises ModelUnavailable."""
    try:
        return await loading
    except (StorageUnavailable, ObjectMissing, DigestMismatch, CorruptArtifact) as error:
        raise ModelUnavailable(
            f"The model cannot be loaded right now ({type(error).__name__}); please try again.",
            retry_after_seconds=5,
        ) from error
