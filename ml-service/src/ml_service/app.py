"""The prediction service as an application: what it shares, what it runs beside the requests, its routes."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI

from ml_service import __version__
from ml_service.serving import demo_models
from ml_service.serving.access import Access
from ml_service.serving.answering import Answering
from ml_service.serving.control_plane import ControlPlane
from ml_service.serving.desired_state import DesiredState
from ml_service.serving.directory import Directory
from ml_service.serving.documentation import answer_openapi
from ml_service.serving.fast_lane import FastLane, Parts
from ml_service.serving.garbage import settle
from ml_service.serving.loaded_models import LoadedModels
from ml_service.serving.operating import Operating
from ml_service.serving.predicting import Predicting
from ml_service.serving.principals import Principals
from ml_service.serving.refusals import RefusalReports
from ml_service.serving.router import router
from ml_service.serving.service import Serving
from ml_service.serving.stats import Stats
from ml_service.serving.version_store import VersionStore
from ml_service.settings import Settings
from platform_kit.plumbing.health import Check, health_router
from platform_kit.plumbing.http import create_service
from platform_kit.plumbing.notices import listen
from platform_kit.plumbing.object_store import ObjectStore
from platform_kit.plumbing.rate_limits import RateLimits

DESCRIPTION = """Answers predictions. Try `demo_model_1` without signing in; for your own models sign in with
**Authorize**, or send the access token that the Platform API gives you. Each model has a page of
its own at `/models/{model}/docs`: its fields, their types and ranges, rows to try; its document is
`/models/{model}/openapi.json`."""

TAGS = [
    {"name": "predictions", "description": "Rows in, answers out."},
    {"name": "models", "description": "What is served, and how it is doing."},
    {"name": "health", "description": "Is it alive, is it ready, how is it doing?"},
]


def create_app(settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with _alive(app, settings) as shared:
            yield shared

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


def in_the_fast_lane(app: FastAPI, settings: Settings) -> FastLane:
    """The application as it is served: with a short way for ordinary predictions."""
    return FastLane(app, settings, app.state.rate_limits)


@asynccontextmanager
async def _alive(app: FastAPI, settings: Settings) -> AsyncIterator[dict[str, Any]]:
    """What requests find in their state while the service runs, and what runs beside them."""
    control = ControlPlane.from_settings(settings)
    versions = VersionStore(
        ObjectStore.from_settings(settings),
        settings.ml_cache_dir / "versions",
        entries=settings.version_cache_entries,
    )
    models = LoadedModels(
        versions, entries=settings.model_cache_entries, most_bytes=settings.model_cache_bytes
    )
    state = DesiredState(control, models, settings)
    principals, refusals = Principals(control, settings), RefusalReports(control)
    demos = demo_models.none()
    if settings.demo_models:
        demos = await asyncio.to_thread(demo_models.prepare, settings.ml_cache_dir / "demo")
    app.state.desired_state = state
    directory = Directory(control, state, models, demos)
    stats = Stats.from_settings(settings, control.replica)
    access = Access(principals, refusals)
    serving = Serving(
        settings,
        access=access,
        directory=directory,
        models=models,
        demos=demos,
        stats=stats,
    )
    predicting = Predicting(settings)
    settle()
    async with _beside_requests(
        state.run(),
        principals.known.save_forever(),
        refusals.send_forever(),
        stats.tell_forever(),
        listen(settings.cache_url.get_secret_value(), principals.forget),
    ):
        yield {
            "serving": serving,
            "answering": Answering(settings, serving, predicting),
            "parts": Parts(principals, directory, predicting, serving),
            "operating": Operating(access, directory, models, demos, control.replica),
        }
    await predicting.close()
    await stats.close()
    await principals.known.save()
    await refusals.flush()
    await control.close()


@asynccontextmanager
async def _beside_requests(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
