import asyncio
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import insert, text, update
from starlette.types import ASGIApp

from api_server.auth.models import ApiKey, User
from api_server.database import Sessions, transaction
from api_server.housekeeping.chores import Place
from api_server.housekeeping.figures import BOARD, FIGURES, keep_showing
from api_server.housekeeping.models import PlatformFigure
from api_server.jobs.models import Job
from api_server.predictions.models import PredictionRecord
from tests.api_server.factories import CSV, SignedIn, Worker, trained_model, upload
from tests.api_server.housekeeping.doing import count, done


@pytest.fixture(autouse=True)
def nothing_shown() -> None:
    BOARD.put({}, None)


async def shown(running: tuple[ASGIApp, dict[str, Any]], sessions: Sessions) -> dict[str, float]:
    """What a scrape shows of the platform once the figures were read."""
    reading = asyncio.create_task(keep_showing(sessions))
    await asyncio.sleep(0.2)
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
    return await scraped(running)


async def scraped(running: tuple[ASGIApp, dict[str, Any]]) -> dict[str, float]:
    transport = httpx2.ASGITransport(app=running[0])
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as http:
        lines = (await http.get("/metrics")).text.splitlines()
    samples = [line.rsplit(" ", 1) for line in lines if line.startswith("mlp_")]
    names = {each.name for each in FIGURES} | {"mlp_figures_measured_timestamp_seconds"}
    return {name: float(value) for name, value in samples if name.partition("{")[0] in names}


class TestMeasure:
    async def test_counts_what_there_is(
        self,
        running: tuple[ASGIApp, dict[str, Any]],
        maker: SignedIn,
        other: SignedIn,
        worker: Worker,
        place: Place,
        sessions: Sessions,
    ) -> None:
        await trained_model(maker, worker)
        waiting = await upload(maker)
        async with transaction(sessions) as session:
            await session.execute(text("UPDATE users SET last_login_at = now() - interval '25 hours'"))
            await session.execute(update(User).where(User.id == maker.id).values(last_login_at=text("now()")))
            await session.execute(
                update(Job)
                .where(Job.id == waiting["job_id"])
                .values(created_at=text("now() - interval '100 seconds'"))
            )
            facts = {"user_id": maker.id, "model_id": "m", "model_version": 1, "input_data": {}, "answer": {}}
            await session.execute(insert(PredictionRecord).values(id=uuid4(), **facts))

        await done(place, "platform_figures")
        found = await shown(running, sessions)

        assert {name: value for name, value in found.items() if "{" not in name and "stamp" not in name} == {
            "mlp_users": 2,
            "mlp_active_users": 1,
            "mlp_projects": 1,
            "mlp_datasets": 2,
            "mlp_dataset_bytes": 2 * len(CSV),
            "mlp_models": 1,
            "mlp_deployed_models": 0,
            "mlp_recent_predictions": 1,
        }
        assert found['mlp_recent_jobs{kind="profile",status="succeeded"}'] == 1
        assert found['mlp_recent_jobs{kind="profile",status="queued"}'] == 1
        assert found['mlp_recent_jobs{kind="train",status="failed"}'] == 0
        assert 100 <= found['mlp_oldest_waiting_job_seconds{queue="data"}'] < 130
        assert found['mlp_oldest_waiting_job_seconds{queue="ml"}'] == 0

    async def test_counts_who_came_by_key_alone(
        self,
        running: tuple[ASGIApp, dict[str, Any]],
        maker: SignedIn,
        place: Place,
        sessions: Sessions,
    ) -> None:
        made = await maker.http.post("/api-keys", json={"name": "k", "scopes": ["read"]})
        async with transaction(sessions) as session:
            await session.execute(update(User).values(last_login_at=None))
            await session.execute(
                update(ApiKey).where(ApiKey.id == made.json()["id"]).values(last_used_at=text("now()"))
            )

        await done(place, "platform_figures")

        assert (await shown(running, sessions))["mlp_active_users"] == 1

    async def test_again_keeps_no_figure_that_is_no_more(self, place: Place, sessions: Sessions) -> None:
        async with transaction(sessions) as session:
            await session.execute(text("INSERT INTO platform_figures VALUES ('mlp_old', 1, now())"))

        first = (await done(place, "platform_figures"))["figures"]
        await done(place, "platform_figures")

        assert await count(sessions, PlatformFigure) == first


class TestScrape:
    async def test_shows_nothing_before_anything_was_measured(
        self, running: tuple[ASGIApp, dict[str, Any]], sessions: Sessions
    ) -> None:
        assert await shown(running, sessions) == {}

    async def test_shows_what_was_read_last_and_when_it_was_measured(
        self, running: tuple[ASGIApp, dict[str, Any]], place: Place, sessions: Sessions
    ) -> None:
        await done(place, "platform_figures")
        before = await shown(running, sessions)
        async with transaction(sessions) as session:
            await session.execute(text("UPDATE platform_figures SET value = 7"))

        assert await scraped(running) == before
        assert before["mlp_figures_measured_timestamp_seconds"] > 1.7e9
        assert (await shown(running, sessions))["mlp_users"] == 7
