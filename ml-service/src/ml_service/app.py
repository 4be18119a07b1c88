"""The prediction service as an application: what it shares, what it runs beside the requests, its routes."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI

from ml_service import __version__
from ml_service.serving import demo_models
from ml_service.serving.access import Access
from ml_service.serving.control_plane import ControlPlane
from ml_service.serving.desired_state import DesiredState
from ml_service.serving.directory import Directory
from ml_service.serving.documentation import answer_openapi
from ml_service.serving.loaded_models import LoadedModels
from ml_service.serving.principals import Principals
from ml_service.serving.refusals import RefusalReports
from ml_service.serving.router import router
from ml_service.serving.service import Serving
from ml_service.serving.version_store import VersionStore
from ml_service.settings import Settings
from platform_kit.plumbing.health import Check, health_router
from platform_kit.plumbing.http import create_service
from platform_kit.plumbing.notices import listen
from platform_kit.plumbing.object_store import ObjectStore
from platform_kit.plumbing.rate_limits import RateLimits

DESCRIPTION = """Answers predictions. Try `demo_model_1` without signing in; for your own models sign in with
**Authorize**, or send the access token that the Platform API gives you. Each model has its own typed description at
`/models/{model}/openapi.json`."""

TAGS = [
    {"name": "predictions", "description": "Rows in, answers out."},
    {"name": "models", "description": "What is served, and how it is doing."},
    {"name": "health", "description": "Is it alive, is it ready, how is it doing?"},
]


def create_app(settings: Settings) -> FastAPI:
    store = ObjectStore.from_settings(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        control = ControlPlane.from_settings(settings)
        versions = VersionStore(
            store, settings.ml_cache_dir / "versions", entries=settings.version_cache_entries
        )
        models = LoadedModels(versions, entries=settings.model_cache_entries)
        state = DesiredState(control, models, settings)
        principals, refusals = Principals(control, settings), RefusalReports(control)
        demos = demo_models.none()
        if settings.demo_models:
            demos = await asyncio.to_thread(demo_models.prepare, settings.ml_cache_dir / "demo")
        app.state.desired_state = state
        directory = Directory(control, state, models, demos)
        serving = Serving(
            settings,
            access=Access(principals, refusals),
            directory=directory,
            state=state,
            models=models,
            demos=demos,
        )
        async with _beside_requests(
            state.run(),
            principals.known.save_forever(),
            refusals.send_forever(),
            listen(settings.cache_url.get_secret_value(), principals.forget),
        ):
            yield {"serving": serving}
        await principals.known.save()
        await refusals.flush()
        await control.close()

    async def state_is_there() -> str:
        if not app.state.desired_state.is_known:
            raise LookupError("nothing heard from api-server yet")
        return f"{len(app.state.desired_state.active)} deployed models"

    checks: dict[str, Check] = {"desired_state": state_is_there}
    app = create_service(
        title="Prediction service",
        description=DESCRIPTION,
        version=__version__,
        lifespan=lifespan,
        settings=settings,
        tags=TAGS,
    )
    app.state.rate_limits = RateLimits(
        address=settings.predict_rate_limit_address, principal=settings.predict_rate_limit_principal
    )
    answer_openapi(app, public_api_url=settings.public_api_url)
    app.include_router(router)
    app.include_router(health_router(__version__, checks))
    return app


@asynccontextmanager
async def _beside_requests(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
