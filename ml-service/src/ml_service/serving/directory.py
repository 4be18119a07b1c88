"""From a name in a URL to a version that may answer this caller."""

import time

from ml_service.serving.control_plane import ControlPlane, Unreachable
from ml_service.serving.demo_models import DemoModels
from ml_service.serving.desired_state import DesiredState
from ml_service.serving.errors import (
    ControlPlaneAway,
    ModelNotFound,
    NotDeployed,
    NotSignedIn,
    VersionNotFound,
)
from ml_service.serving.found import Found
from ml_service.serving.loaded_models import LoadedModels
from ml_service.serving.wanted import Wanted
from platform_kit.contract.access import Principal
from platform_kit.contract.serving import ModelLookup, ServedVersion

LOOKUP_SECONDS = 1.0
KEPT_LOOKUPS = 10_000


class Directory:
    def __init__(
        self, control: ControlPlane, state: DesiredState, models: LoadedModels, demos: DemoModels
    ) -> None:
        self._control, self._state, self._models, self._demos = control, state, models, demos
        self._lookups: dict[tuple[str, int | None], tuple[float, ModelLookup | None]] = {}

    @property
    def deployed(self) -> list[ServedVersion]:
        return self._state.active

    async def find(self, ref: str, number: int | None, principal: Principal | None) -> Found:
        """Find what answers `ref`, or its version `number`, for this caller.

        Raises NotSignedIn, ModelNotFound, VersionNotFound, NotDeployed, ControlPlaneAway, ModelUnavailable.
        """
        demo = self._demos.find(ref)
        if demo is not None:
            if number not in (None, demo.number):
                raise VersionNotFound(f"{ref} has version {demo.number} only.")
            return demo
        if principal is None:
            raise NotSignedIn
        wanted = await self.wanted(ref, number, principal)
        return wanted.found(await self._models.get(wanted.served.manifest))

    def at_once(self, ref: str, principal: Principal | None) -> Found | None:
        """What answers `ref` for this caller, if that is known and in memory; else None."""
        demo = self._demos.find(ref)
        if demo is not None or principal is None:
            return demo
        wanted = self._state.find(ref)
        if wanted is None or not principal.may_see(wanted.served.project_id, wanted.served.endpoint):
            return None
        version = self._models.used(wanted.served.manifest)
        return wanted.found(version) if version is not None else None

    async def wanted(self, ref: str, number: int | None, principal: Principal) -> Wanted:
        """As `find`, without loading it, and without the demo models."""
        wanted = self._state.find(ref)
        if wanted is not None and not principal.may_see(wanted.served.project_id, wanted.served.endpoint):
            raise ModelNotFound
        if wanted is not None and number in (None, wanted.served.version):
            return wanted
        lookup = await self._look_up(ref, number)
        if lookup is None or not principal.may_see(lookup.project_id, lookup.endpoint):
            raise ModelNotFound
        if number is not None:
            if lookup.version is None:
                raise VersionNotFound(f"The model has no version {number}.")
            return Wanted.of(lookup.version)
        return await self._just_deployed(ref, lookup)

    async def _just_deployed(self, ref: str, lookup: ModelLookup) -> Wanted:
        """Look once more before saying no: a deployment may have finished a moment ago."""
        try:
            await self._state.sync()
        except Unreachable:
            raise ControlPlaneAway from None
        wanted = self._state.find(ref)
        if wanted is None:
            raise NotDeployed(
                f"The model is {lookup.status} but not deployed; POST /api/v1/models/{lookup.model_id}/deploy first."
            )
        return wanted

    async def _look_up(self, ref: str, number: int | None) -> ModelLookup | None:
        key = (ref, number)
        now = time.monotonic()
        cached = self._lookups.get(key)
        if cached is not None and now - cached[0] < LOOKUP_SECONDS:
            return cached[1]
        try:
            found = await self._control.look_up(ref, number)
        except Unreachable:
            raise ControlPlaneAway from None
        if len(self._lookups) >= KEPT_LOOKUPS:
            self._lookups.clear()
        self._lookups[key] = (now, found)
        return found
