"""The web process as a whole: who may call it from a browser, and what limits it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import redis

from api_server.main import create_app
from api_server.settings import Settings
from tests.api_server.conftest import WithState

TOKEN = "/api/v1/auth/token"


@pytest.fixture
def without_origins(settings: Settings) -> Settings:
    addresses = {"public_api_url": "http://127.0.0.1:8000", "public_ml_url": "http://127.0.0.1:8001"}
    return settings.model_copy(update={**addresses, "cors_origins": ()})


async def allowed(settings: Settings, origin: str) -> str | None:
    """What a browser is told that asks whether a page may sign in."""
    transport = httpx2.ASGITransport(app=create_app(settings))
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-requested-with",
    }
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as http:
        found: str | None = (await http.options(TOKEN, headers=asked)).headers.get(
            "Access-Control-Allow-Origin"
        )
    return found


class TestSignIn:
    @pytest.mark.parametrize("origin", ["http://127.0.0.1:8001", "http://localhost:8001"])
    async def test_works_from_the_other_services_documentation(
        self, without_origins: Settings, origin: str
    ) -> None:
        assert await allowed(without_origins, origin) == origin

    @pytest.mark.parametrize(
        "origin", ["http://127.0.0.1:8002", "null", "http://127.0.0.1:8001.evil.example"]
    )
    async def test_works_from_no_other_page(self, without_origins: Settings, origin: str) -> None:
        assert await allowed(without_origins, origin) is None

    async def test_needs_no_leave_where_both_services_have_one_origin(
        self, without_origins: Settings
    ) -> None:
        one = {"public_api_url": "https://p.example", "public_ml_url": "https://p.example/ml"}
        settings = without_origins.model_copy(update=one)

        assert settings.calling_pages == ()


@pytest.fixture
async def limited(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    cache = redis.Redis.from_url(settings.cache_url.get_secret_value())
    cache.flushall()
    app = create_app(settings.model_copy(update={"rate_limit_address": "2/hour"}))
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        transport = httpx2.ASGITransport(app=WithState(app, dict(state)))
        async with httpx2.AsyncClient(transport=transport, base_url="http://api") as http:
            yield http
    cache.flushall()
    cache.close()


class TestRateLimits:
    async def test_are_counted_in_the_cache(self, limited: httpx2.AsyncClient, settings: Settings) -> None:
        answers: list[Any] = [await limited.get("/api/v1/projects") for _ in range(3)]

        assert [each.status_code for each in answers] == [401, 401, 429]
        assert answers[2].json()["code"] == "rate_limited"
        with redis.Redis.from_url(settings.cache_url.get_secret_value()) as cache:
            assert cache.keys("rate*")

    async def test_do_not_hold_up_workers(self, limited: httpx2.AsyncClient) -> None:
        answers = [await limited.post("/internal/queues/data/claim", json={}) for _ in range(5)]

        assert 429 not in [each.status_code for each in answers]
