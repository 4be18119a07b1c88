"""The versions in memory: the least recently asked one leaves when there is no room."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from ml_service.artifacts.predictor import Answer, Predictor
from ml_service.artifacts.problems import CorruptArtifact
from ml_service.serving import metrics
from ml_service.serving.errors import ModelUnavailable
from ml_service.serving.request_body import repeated_keys
from ml_service.serving.version_store import VersionStore
from platform_kit.contract.artifact import Manifest, ManifestRef
from platform_kit.contract.inputs import CheckedRow, RowChecker
from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shown
from platform_kit.plumbing.object_store import DigestMismatch, ObjectMissing, StorageUnavailable

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LoadedVersion:
    """A version that can answer. Immutable, so requests under way keep the one they began with."""

    manifest: Manifest
    digest: str
    checker: RowChecker
    predictor: Predictor

    def check(self, row: Any, *, pointer: tuple[str | int, ...], index: int | None = None) -> CheckedRow:
        """Compare one row with the contract: all errors and warnings at once."""
        if not isinstance(row, Mapping):
            issue = Issue(
                pointer=pointer_to(*pointer),
                row=index,
                code=IssueCode.WRONG_TYPE,
                got=shown(row),
                expected="an object: feature name to value",
            )
            return CheckedRow(values=[], errors=[issue])
        checked = self.checker.check(row, pointer=pointer, index=index)
        checked.errors.extend(repeated_keys(row, pointer=pointer, index=index))
        return checked

    def predict(self, rows: list[CheckedRow]) -> list[Answer]:
        return self.predictor.predict([row.values for row in rows])


def load(manifest: Manifest, digest: str, folder: Any) -> LoadedVersion:
    """Blocks. Raises CorruptArtifact."""
    return LoadedVersion(
        manifest=manifest,
        digest=digest,
        checker=RowChecker(manifest.contract),
        predictor=Predictor(manifest, folder),
    )


class LoadedModels:
    def __init__(self, versions: VersionStore, *, entries: int) -> None:
        self._versions, self.entries = versions, entries
        self._loaded: OrderedDict[str, LoadedVersion] = OrderedDict()
        self._loading: dict[str, asyncio.Task[LoadedVersion]] = {}

    def is_loaded(self, ref: ManifestRef) -> bool:
        return ref.sha256 in self._loaded

    async def get(self, ref: ManifestRef) -> LoadedVersion:
        """The version, loaded if need be; many callers wait for one load. Raises ModelUnavailable."""
        try:
            return await self.load(ref)
        except (StorageUnavailable, ObjectMissing, DigestMismatch, CorruptArtifact) as error:
            raise ModelUnavailable(
                f"The model cannot be loaded right now ({type(error).__name__}); please try again.",
                retry_after_seconds=5,
            ) from error

    async def load(self, ref: ManifestRef) -> LoadedVersion:
        """As `get`, with the errors of storage and of the artifact themselves."""
        loaded = self._loaded.get(ref.sha256)
        if loaded is not None:
            self._loaded.move_to_end(ref.sha256)
            return loaded
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
        metrics.LOAD_SECONDS.labels(framework=loaded.manifest.framework).observe(
            time.perf_counter() - started
        )
        self._loaded[ref.sha256] = loaded
        while len(self._loaded) > self.entries:
            self._loaded.popitem(last=False)
        metrics.LOADED.set(len(self._loaded))
        return loaded

    def _open(self, ref: ManifestRef) -> LoadedVersion:
        manifest, folder = self._versions.open(ref)
        return load(manifest, ref.digest, folder)
