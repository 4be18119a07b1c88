"""The web process: `python -m api_server.main`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from api_server import __version__
from api_server.api_keys import router as api_keys
from api_server.audit import router as audit
from api_server.auth import router as auth
from api_server.auth import users_router as users
from api_server.auth.throttle import LoginThrottle
from api_server.database import make_engine, make_sessions
from api_server.datasets import router as datasets
from api_server.deployments import internal as deployments_internal
from api_server.deployments import router as deployments
from api_server.handlers import HANDLERS
from api_server.housekeeping import router as housekeeping
from api_server.housekeeping.figures import keep_showing
from api_server.jobs import internal as jobs_internal
from api_server.jobs import router as jobs
from api_server.ml_client import MlClient
from api_server.notices import SENDER, NoticeSender
from api_server.predictions import router as predictions
from api_server.projects import internal as projects_internal
from api_server.projects import router as projects
from api_server.refusal_book import RefusalBook
from api_server.refusal_trail import RefusalTrail, keep
from api_server.registry import router as registry
from api_server.settings import Settings
from api_server.training import router as training
from platform_kit.plumbing.health import Check, health_router
from platform_kit.plumbing.http import create_service, serve
from platform_kit.plumbing.logging import set_up_logging
from platform_kit.plumbing.object_store import ObjectStore
from platform_kit.plumbing.rate_limits import RateLimits
from platform_kit.plumbing.storable import check_json_bodies

PREFIX = "/api/v1"
ROOMS = (
    *(auth, users, api_keys, audit, projects, datasets),
    *(training, registry),  # in this order: POST /models belongs to the same group of routes
    *(jobs, deployments, predictions, housekeeping),
)
DESCRIPTION = """From a table of data to a watched prediction endpoint:
upload a dataset, train, register a model version, deploy, predict.

Sign in with **Authorize** (a user name or e-mail, and a password; or an API key), then go from *projects* to
*predictions*. *users*, *invitations*, *audit* and *housekeeping* are for administrators."""

TAGS = [
    {"name": "auth", "description": "Accounts and sessions: who is calling."},
    {"name": "projects", "description": "Workspaces that own datasets and models; their members."},
    {"name": "datasets", "description": "Files to learn from, with schema and statistics."},
    {"name": "models", "description": "Models, their trainings and versions."},
    {"name": "jobs", "description": "Work that takes longer than a request, with live progress."},
    {"name": "deployments", "description": "Which version answers behind which endpoint."},
    {"name": "predictions", "description": "Predictions through the API, with history."},
    {"name": "users", "description": "For administrators: accounts, roles, invitations."},
    {"name": "api-keys", "description": "Credentials for programs, with scopes."},
    {"name": "audit", "description": "For administrators: who did what, or was refused."},
    {"name": "housekeeping", "description": "For administrators: what is cleared away and counted at times."},
    {"name": "health", "description": "Is it alive, is it ready, how is it doing?"},
]


def create_app(settings: Settings) -> FastAPI:
    engine = make_engine(settings)
    store = ObjectStore.from_settings(settings)
    ml = MlClient(settings)
    rate_limits = RateLimits.shared(
        settings.cache_url.get_secret_value(),
        address=settings.rate_limit_address,
        principal=settings.rate_limit_principal,
    )
    broker = redis.asyncio.from_url(
        settings.broker_url.get_secret_value(), socket_timeout=2, socket_connect_timeout=2, retry=None
    )

    notices = NoticeSender(settings.cache_url.get_secret_value())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        sessions = make_sessions(engine, **{SENDER: notices})
        refusals = RefusalBook(per_minute=settings.audit_refusals_per_minute)
        beside = [
            asyncio.create_task(keep(refusals, sessions)),
            asyncio.create_task(keep_showing(sessions)),
        ]
        yield {
            "settings": settings,
            "sessions": sessions,
            "refusals": refusals,
            "store": store,
            "ml": ml,
            "handlers": HANDLERS,
            "throttle": LoginThrottle.from_settings(settings, app.state.rate_limits.counters),
        }
        for each in beside:
            each.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        await ml.close()
        await notices.close()
        await rate_limits.close()
        await broker.aclose()
        await engine.dispose()

    app = create_service(
        title="Platform API",
        description=DESCRIPTION,
        version=__version__,
        lifespan=lifespan,
        settings=settings,
        tags=TAGS,
    )
    app.state.rate_limits = rate_limits
    check_json_bodies(app, but_for={PREFIX + predictions.router.prefix})
    for room in ROOMS:
        app.include_router(room.router, prefix=PREFIX)
    for internal in (projects_internal, jobs_internal, deployments_internal):
        app.include_router(internal.router)
    app.include_router(health_router(__version__, _checks(engine, broker, store)))
    app.add_middleware(RefusalTrail)
    return app


def _checks(engine: AsyncEngine, broker: redis.asyncio.Redis, store: ObjectStore) -> dict[str, Check]:
    async def postgres_answers() -> str:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return "answers"

    async def broker_answers() -> str:
        await broker.ping()
        return "answers"

    async def storage_answers() -> str:
        await asyncio.to_thread(store.check)
        return "answers"

    return {"postgres": postgres_answers, "broker": broker_answers, "storage": storage_answers}


def main() -> None:
    settings = Settings.from_environment()
    set_up_logging("api-server", level=settings.log_level, log_format=settings.log_format)
    app = create_app(settings)
    serve(app, host=settings.api_host, port=settings.api_port, draining=app.state.draining)


if __name__ == "__main__":
    main()
