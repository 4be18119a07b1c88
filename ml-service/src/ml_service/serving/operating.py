"""What operators do to the models in this process's memory. Other replicas are not told."""

from dataclasses import dataclass
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from ml_service.serving.access import OPERATING, Access
from ml_service.serving.demo_models import DemoModels
from ml_service.serving.directory import Directory
from ml_service.serving.errors import AlwaysInMemory, RoleMissing
from ml_service.serving.loaded_models import LoadedModels, LoadedVersion
from ml_service.serving.wanted import Wanted
from platform_kit.contract.access import Principal, Role

log = structlog.get_logger(__name__)


class InMemory(BaseModel):
    """A model in the memory of one process."""

    model_config = ConfigDict(protected_namespaces=())

    model_id: UUID
    version: int
    replica: str = Field(description="the process that answered; only this one has done it")
    is_loaded: bool
    memory_bytes: int = Field(description="about; 0 if it is not loaded")
    load_milliseconds: float | None = Field(description="fetching, verifying and loading it")


@dataclass(frozen=True)
class Operating:
    access: Access
    directory: Directory
    models: LoadedModels
    demos: DemoModels
    replica: str

    async def unload(self, request: Request, ref: str) -> InMemory:
        """Make room. The next request for it loads it again, from the copy on this machine's disk."""
        wanted = await self._wanted(request, ref)
        self.models.unload(wanted.served.manifest)
        return self._done("model.unloaded", request, wanted, None)

    async def reload(self, request: Request, ref: str) -> InMemory:
        """Fetch it from storage again; requests are answered by the one in memory meanwhile."""
        wanted = await self._wanted(request, ref)
        version = await self.models.reload(wanted.served.manifest)
        return self._done("model.reloaded", request, wanted, version)

    async def _wanted(self, request: Request, ref: str) -> Wanted:
        """Who may not see a model is not told that there is one; who may is told whom it takes."""
        with self.access.noting(request, OPERATING, ref):
            principal = await self.access.require(request, OPERATING)
            if self.demos.find(ref) is not None:
                _require_operator(principal)
                raise AlwaysInMemory(ref)
            wanted = await self.directory.wanted(ref, None, principal)
            _require_operator(principal)
        return wanted

    def _done(self, event: str, request: Request, wanted: Wanted, version: LoadedVersion | None) -> InMemory:
        served, principal = wanted.served, request.state.principal
        log.info(event, model=served.endpoint, version=served.version, user_id=str(principal.user_id))
        return InMemory(
            model_id=served.model_id,
            version=served.version,
            replica=self.replica,
            is_loaded=version is not None,
            memory_bytes=version.memory_bytes if version else 0,
            load_milliseconds=round(version.load_seconds * 1000, 3) if version else None,
        )


def _require_operator(principal: Principal) -> None:
    if principal.role is not Role.ADMIN:
        raise RoleMissing(principal.role)
