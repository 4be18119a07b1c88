"""Follows what api-server wants served: loads it, proves candidates, and says how far it has come.

The last state is kept on disk, so that a replica that starts while api-server is away serves what it served before.
"""

import asyncio
import contextlib
from uuid import UUID

import structlog

from ml_service.artifacts.files import write_private
from ml_service.artifacts.problems import CorruptArtifact
from ml_service.serving import golden, metrics
from ml_service.serving.control_plane import ControlPlane, Unreachable
from ml_service.serving.loaded_models import LoadedModels
from ml_service.serving.wanted import Wanted
from ml_service.settings import Settings
from platform_kit.contract.serving import Proof, ReplicaReport, ServedVersion, ServingState
from platform_kit.plumbing.object_store import DigestMismatch, ObjectMissing, StorageUnavailable

RETRY_SECONDS = 2.0

log = structlog.get_logger(__name__)


class DesiredState:
    def __init__(self, control: ControlPlane, models: LoadedModels, settings: Settings) -> None:
        self._control, self._models, self._settings = control, models, settings
        self._path = settings.ml_cache_dir / "state.json"
        self._applied = -1
        self._active: dict[str, Wanted] = {}
        self._candidates: dict[UUID, ServedVersion] = {}
        self._proving: dict[UUID, asyncio.Task[None]] = {}
        self._proofs: dict[UUID, Proof] = {}
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._is_reachable: bool | None = None
        self._restore()

    @property
    def is_known(self) -> bool:
        """Whether anything was ever heard, now or before the last restart."""
        return self._applied >= 0 or bool(self._active)

    @property
    def active(self) -> list[ServedVersion]:
        return list({each.served.model_id: each.served for each in self._active.values()}.values())

    def find(self, ref: str) -> Wanted | None:
        """What an id or an endpoint's name answers with."""
        return self._active.get(ref) or self._active.get(ref.lower())

    async def run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self.sync()
            except Unreachable as error:
                self._note_reachable(False, reason=str(error))
            else:
                self._note_reachable(True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.sync_interval_seconds):
                    await self._wake.wait()

    def _note_reachable(self, is_reachable: bool, *, reason: str = "") -> None:
        """Log when it changes, not at every question."""
        if is_reachable is self._is_reachable:
            return
        self._is_reachable = is_reachable
        if is_reachable:
            log.info("api_server.reachable")
        else:
            log.warning("api_server.unreachable", reason=reason, serves=len(self.active))

    async def sync(self) -> None:
        """Report and follow, once. Raises Unreachable."""
        async with self._turn:
            proofs = list(self._proofs.values())
            report = ReplicaReport(
                replica=self._control.replica, applied_generation=self._applied, proofs=proofs
            )
            try:
                state = await self._control.sync(report)
            except Unreachable:
                metrics.SYNC_FAILURES.inc()
                raise
            for proof in proofs:
                self._proofs.pop(proof.deployment_id, None)
                self._candidates.pop(proof.deployment_id, None)
            if state.active is not None:
                await self._apply(state)
                self._wake.set()
            self._prove_candidates()

    async def _apply(self, state: ServingState) -> None:
        """Load first, then move over: a request finds the old version or the new one, never none."""
        active = state.active or []
        loads = [self._models.load(each.manifest) for each in self._to_load(active)]
        await asyncio.gather(*loads, return_exceptions=True)
        self._set_active(active)
        self._candidates = {each.deployment_id: each for each in state.candidates or [] if each.deployment_id}
        for gone in set(self._proving) - set(self._candidates):
            self._proving.pop(gone).cancel()
        self._applied = state.generation
        await self._save(state)
        log.info(
            "state.applied", generation=state.generation, active=len(active), candidates=len(self._candidates)
        )

    async def _save(self, state: ServingState) -> None:
        """A disk that is full costs only what a restart without api-server would know."""
        try:
            await asyncio.to_thread(write_private, self._path, state.model_dump_json().encode())
        except OSError as error:
            log.warning("state.not_saved", error=str(error))

    def _to_load(self, active: list[ServedVersion]) -> list[ServedVersion]:
        """What is new, no more than fits: loading all at every change would take longer than it is worth."""
        before = set() if self._applied < 0 else {each.manifest.sha256 for each in self.active}
        return [each for each in active if each.manifest.sha256 not in before][-self._models.entries :]

    def _set_active(self, active: list[ServedVersion]) -> None:
        wanted = [Wanted.of(each) for each in active]
        self._active = {
            name: each for each in wanted for name in (str(each.served.model_id), each.served.endpoint)
        }
        pinned = {each.served.manifest.sha256 for each in wanted if each.options and each.options.pinned}
        self._models.pin(pinned)

    def _prove_candidates(self) -> None:
        for deployment_id, candidate in self._candidates.items():
            if deployment_id not in self._proving and deployment_id not in self._proofs:
                self._proving[deployment_id] = asyncio.create_task(self._prove(deployment_id, candidate))

    async def _prove(self, deployment_id: UUID, candidate: ServedVersion) -> None:
        try:
            verdict = await self._verdict(deployment_id, candidate)
            if verdict is None:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._proofs[deployment_id] = verdict
                log.info(
                    "candidate.judged", model=candidate.endpoint, holds=verdict.holds, reason=verdict.reason
                )
        finally:
            self._proving.pop(deployment_id, None)
            self._wake.set()

    async def _verdict(self, deployment_id: UUID, candidate: ServedVersion) -> Proof | None:
        """None: storage is away, so nothing can be said yet."""
        try:
            version = await self._models.load(candidate.manifest)
        except (StorageUnavailable, OSError):
            return None
        except (DigestMismatch, ObjectMissing, CorruptArtifact) as error:
            return Proof(
                deployment_id=deployment_id, holds=False, reason=f"{type(error).__name__}: {error}"[:2000]
            )
        reason = await asyncio.to_thread(golden.objection, version, Wanted.of(candidate))
        return Proof(deployment_id=deployment_id, holds=reason is None, reason=reason and reason[:2000])

    def _restore(self) -> None:
        try:
            state = ServingState.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError):
            log.warning("state.unreadable")
            return
        self._set_active(state.active or [])
