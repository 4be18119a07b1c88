"""What the routes of this process share."""

import time
from typing import Any

from starlette.requests import Request

from ml_service.serving import metrics, model_facts
from ml_service.serving.access import READING, Access, Purpose
from ml_service.serving.demo_models import DemoModels
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
        models: LoadedModels,
        demos: DemoModels,
        stats: Stats,
    ) -> None:
        self._access, self._directory = access, directory
        self._models, self._demos = models, demos
        self._stats = stats
        self.public_url, self.public_api_url = settings.public_ml_url, settings.public_api_url

    async def find(self, request: Request, ref: str, number: int | None, purpose: Purpose) -> Found:
        """The version that answers this caller. A demo model asks nobody who is calling."""
        if self._demos.find(ref) is not None:
            return await self._directory.find(ref, number, None)
        with self._access.noting(request, purpose, ref):
            principal = await self._access.require(request, purpose)
            return await self._directory.find(ref, number, principal)

    def note(
        self, found: Found | None, began: float, *, outcome: str, rows: int = 0, cached_rows: int = 0
    ) -> None:
        """Count a request for predictions. found: None where it never came to a model."""
        seconds = time.perf_counter() - began
        model_id = found.model_id if found else None
        self._stats.note(model_id, outcome, milliseconds=seconds * 1000, rows=rows, cached_rows=cached_rows)
        endpoint, number = (found.endpoint, found.number) if found else ("none", 0)
        metrics.count_prediction(endpoint, number, outcome, seconds=seconds, rows=rows)

    async def list_models(self, request: Request) -> dict[str, Any]:
        models = [model_facts.demo_entry(each, public_url=self.public_url) for each in self._demos.all]
        models += [self._entry(each) for each in await self._visible(request)]
        return {"loaded_models": [each["model_id"] for each in models if each["is_loaded"]], "models": models}

    async def summaries(self, request: Request) -> dict[str, Any]:
        seen = [each.model_id for each in self._demos.all]
        seen += [str(each.model_id) for each in await self._visible(request)]
        overview = await self._stats.overview()
        return {"global": overview.everything(), "models": {each: overview.model(each) for each in seen}}

    async def _visible(self, request: Request) -> list[ServedVersion]:
        with self._access.noting(request, READING):
            principal = await self._access.caller(request)
        if principal is None or not principal.may(*READING.scopes):
            return []
        return [
            each for each in self._directory.deployed if principal.may_see(each.project_id, each.endpoint)
        ]

    def _entry(self, served: ServedVersion) -> dict[str, Any]:
        version, is_pinned = self._models.find(served.manifest), self._models.is_pinned(served.manifest)
        return model_facts.entry(served, version, is_pinned=is_pinned, public_url=self.public_url)
