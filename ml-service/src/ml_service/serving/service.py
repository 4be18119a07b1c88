"""What the routes of this process share."""

from typing import Any

from starlette.requests import Request

from ml_service.serving.access import READING, Access, Purpose
from ml_service.serving.demo_models import DemoModels
from ml_service.serving.desired_state import DesiredState
from ml_service.serving.directory import Directory
from ml_service.serving.found import Found
from ml_service.serving.loaded_models import LoadedModels
from ml_service.serving.stats import Stats
from ml_service.settings import Settings
from platform_kit.contract.serving import ServedVersion


class Serving:
    def __init__(
        self,
        settings: Settings,
        *,
        access: Access,
        directory: Directory,
        state: DesiredState,
        models: LoadedModels,
        demos: DemoModels,
    ) -> None:
        self._access, self._directory, self._state = access, directory, state
        self._models, self._demos = models, demos
        self.stats = Stats()
        self.most_request_bytes = settings.max_request_bytes
        self.public_url = settings.public_ml_url

    async def find(self, request: Request, ref: str, number: int | None, purpose: Purpose) -> Found:
        """The version that answers this caller. A demo model asks nobody who is calling."""
        if self._demos.find(ref) is not None:
            return await self._directory.find(ref, number, None)
        with self._access.noting(request, purpose, ref):
            principal = await self._access.require(request, purpose)
            return await self._directory.find(ref, number, principal)

    async def list_models(self, request: Request) -> dict[str, Any]:
        models = [_demo_entry(each) for each in self._demos.all]
        models += [self._entry(each) for each in await self._visible(request)]
        return {"loaded_models": [each["model_id"] for each in models if each["is_loaded"]], "models": models}

    async def summaries(self, request: Request) -> dict[str, Any]:
        seen = [each.model_id for each in self._demos.all]
        seen += [str(each.model_id) for each in await self._visible(request)]
        return {"global": self.stats.everything(), "models": {each: self.stats.model(each) for each in seen}}

    async def _visible(self, request: Request) -> list[ServedVersion]:
        with self._access.noting(request, READING):
            principal = await self._access.caller(request)
        if principal is None or not principal.may(*READING.scopes):
            return []
        return [each for each in self._state.active if principal.may_see(each.project_id, each.endpoint)]

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
