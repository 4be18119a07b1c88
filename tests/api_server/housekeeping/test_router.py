import asyncio

import httpx2
import pytest

from api_server.database import Sessions, transaction
from api_server.housekeeping import service
from api_server.housekeeping.chores import CHORES, Place
from api_server.housekeeping.errors import ChoreUnderWay
from api_server.jobs.models import Job
from api_server.settings import Settings
from tests.api_server.factories import SignedIn
from tests.api_server.housekeeping.doing import count, done, runner


class TestStart:
    async def test_makes_a_job_and_writes_down_who_wanted_it(
        self, admin: SignedIn, place: Place, sessions: Sessions
    ) -> None:
        answer = await admin.http.post("/housekeeping/old_logs")

        job = answer.json()
        assert answer.status_code == 202
        assert answer.headers["Location"] == f"/api/v1/jobs/{job['id']}"
        assert (job["kind"], job["status"], job["queue"]) == ("housekeeping", "queued", "general")
        assert (job["created_by"], job["project_id"]) == (str(admin.id), None)
        await runner(place).run()
        ended = (await admin.http.get(answer.headers["Location"].removeprefix("/api/v1"))).json()
        assert ended["result"] == {"chore": "old_logs", "counts": {"job_events": 0, "housekeeping_jobs": 0}}
        entries = (await admin.http.get("/audit", params={"action": "housekeeping:start"})).json()["items"]
        assert [(each["object_id"], each["details"]["chore"]) for each in entries] == [
            (job["id"], "old_logs")
        ]

    async def test_says_which_job_is_under_way(self, admin: SignedIn) -> None:
        job = (await admin.http.post("/housekeeping/old_logs")).json()

        again = await admin.http.post("/housekeeping/old_logs")
        another = await admin.http.post("/housekeeping/stale_entries")

        assert (again.status_code, again.json()["code"]) == (409, "chore_under_way")
        assert job["id"] in again.json()["detail"]
        assert another.status_code == 202

    async def test_knows_what_there_is(self, admin: SignedIn) -> None:
        answer = await admin.http.post("/housekeeping/dishes")

        assert (answer.status_code, answer.json()["code"]) == (404, "chore_not_found")
        assert "orphaned_objects" in answer.json()["detail"]

    async def test_is_for_administrators(self, client: httpx2.AsyncClient, maker: SignedIn) -> None:
        assert (await client.post("/housekeeping/old_logs")).status_code == 401
        assert (await maker.http.post("/housekeeping/old_logs")).status_code == 403
        assert (await maker.http.get("/housekeeping")).status_code == 403

    async def test_by_eight_at_once_makes_one_job(self, sessions: Sessions, settings: Settings) -> None:
        async def start() -> Job:
            async with transaction(sessions) as session:
                return await service.start(session, "old_logs", settings=settings)

        ends = await asyncio.gather(*(start() for _ in range(8)), return_exceptions=True)

        assert sorted(type(each).__name__ for each in ends) == [*["ChoreUnderWay"] * 7, "Job"]
        assert await count(sessions, Job) == 1

    async def test_follows_when_the_one_before_is_over(
        self, place: Place, sessions: Sessions, settings: Settings
    ) -> None:
        await done(place, "old_logs")

        async with transaction(sessions) as session:
            await service.start(session, "old_logs", settings=settings)
        with pytest.raises(ChoreUnderWay):
            async with transaction(sessions) as session:
                await service.start(session, "old_logs", settings=settings)


class TestRetry:
    async def test_makes_no_second_job_beside_one_that_is_under_way(self, admin: SignedIn) -> None:
        first = (await admin.http.post("/housekeeping/old_logs")).json()
        await admin.http.post(f"/jobs/{first['id']}/cancel")

        again = (await admin.http.post(f"/jobs/{first['id']}/retry")).json()
        await admin.http.post(f"/jobs/{again['id']}/cancel")
        await admin.http.post("/housekeeping/old_logs")
        refused = await admin.http.post(f"/jobs/{first['id']}/retry")

        assert again["retry_of"] == first["id"]
        assert (refused.status_code, refused.json()["code"]) == (409, "chore_under_way")


class TestListChores:
    async def test_says_what_each_does_and_what_came_of_it_last(self, admin: SignedIn, place: Place) -> None:
        await done(place, "stale_entries")
        await done(place, "stale_entries")
        waiting = (await admin.http.post("/housekeeping/platform_figures")).json()

        listed = (await admin.http.get("/housekeeping")).json()

        assert [each["name"] for each in listed["items"]] == list(CHORES)
        found = {each["name"]: each for each in listed["items"]}
        assert found["old_logs"]["last_job"] is None
        assert found["stale_entries"]["last_job"]["result"]["counts"] == {
            "idempotency_keys": 0,
            "replicas": 0,
        }
        assert found["platform_figures"]["last_job"] == {
            "id": waiting["id"],
            "status": "queued",
            "finished_at": None,
            "result": {},
        }
        assert {each["interval_seconds"] for each in listed["items"]} == {300, 3600, 21600}
