"""What the routes of this process share."""

from collections.abc import Mapping
from typing import Any

from ml_service.serving.demo_models import DemoModels
from ml_service.serving.desired_state import DesiredState
from ml_service.serving.directory import Directory
from ml_service.serving.found import Found
from ml_service.serving.loaded_models import LoadedModels
from ml_service.serving.principals import Principals
from ml_service.serving.stats import Stats
from ml_service.settings import Settings
from platform_kit.contract.access import Principal
from platform_kit.contract.serving import ServedVersion


class Serving:
    def __init__(
        self,
        settings: Settings,
        *,
        principals: Principals,
        directory: Directory,
        state: DesiredState,
        models: LoadedModels,
        demos: DemoModels,
    ) -> None:
        self._principals, self._directory, self._state = principals, directory, state
        self._models, self._demos = models, demos
        self.stats = Stats()
        self.most_request_bytes = settings.max_request_bytes
        self.public_url = settings.public_ml_url

    async def find(self, headers: Mapping[str, str], ref: str, number: int | None) -> Found:
        """The version that answers this caller. A demo model asks nobody who is calling."""
        if self._demos.find(ref) is not None:
            return await self._directory.find(ref, number, None)
        return await self._directory.find(ref, number, await self._principals.identify(headers))

    async def list_models(self, headers: Mapping[str, str]) -> dict[str, Any]:
        models = [_demo_entry(each) for each in self._demos.all]
        models += [self._entry(each) for each in self._visible(await self._principals.identify(headers))]
        return {"loaded_models": [each["model_id"] for each in models if each["is_loaded"]], "models": models}

    async def summaries(self, headers: Mapping[str, str]) -> dict[str, Any]:
        seen = [each.model_id for each in self._demos.all]
        seen += [str(each.model_id) for each in self._visible(await self._principals.identify(headers))]
        return {"global": self.stats.everything(), "models": {each: self.stats.model(each) for each in seen}}

    def _visible(self, principal: Principal | None) -> list[ServedVersion]:
        if principal is None:
            return []
        return [each for each in self._state.active if principal.may_see(each.project_id)]

    def _entry(self, served: ServedVersion) -> dict[str, Any]:
        return {
            "model_id": str(served.model_id),
            "name": served.name,
            "endpoint": served.endpoint,
            "version": served.version,
            "framework": served.framework,
            "model_type": served.model_type,
            "is_loaded": self._models.is_loaded(served.manifest),
        }


def _demo_entry(found: Found) -> dict[str, Any]:
    return {
        "model_id": found.model_id,
        "name": found.name,
        "endpoint": found.endpoint,
        "version": found.number,
        "framework": found.framework,
        "model_type": found.model_type,
        "is_loaded": True,
        "metrics": found.version.manifest.metrics,
    }
