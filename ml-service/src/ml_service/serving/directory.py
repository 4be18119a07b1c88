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
        served = await self._served(ref, number, principal)
        return Found(
            model_id=str(served.model_id),
            name=served.name,
            endpoint=served.endpoint,
            framework=served.framework,
            model_type=served.model_type,
            number=served.version,
            version=await self._models.get(served.manifest),
        )

    async def _served(self, ref: str, number: int | None, principal: Principal) -> ServedVersion:
        served = self._state.find(ref)
        if served is not None and not principal.may_see(served.project_id, served.endpoint):
            raise ModelNotFound
        if served is not None and number in (None, served.version):
            return served
        lookup = await self._look_up(ref, number)
        if lookup is None or not principal.may_see(lookup.project_id, lookup.endpoint):
            raise ModelNotFound
        if number is not None:
            if lookup.version is None:
                raise VersionNotFound(f"The model has no version {number}.")
            return lookup.version
        return await self._just_deployed(ref, lookup)

    async def _just_deployed(self, ref: str, lookup: ModelLookup) -> ServedVersion:
        """Look once more before saying no: a deployment may have finished a moment ago."""
        try:
            await self._state.sync()
        except Unreachable:
            raise ControlPlaneAway from None
        served = self._state.find(ref)
        if served is None:
            raise NotDeployed(
                f"The model is {lookup.status} but not deployed; POST /api/v1/models/{lookup.model_id}/deploy first."
            )
        return served

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
