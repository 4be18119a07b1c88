from datetime import timedelta

from sqlalchemy import select, update

from api_server.auth.models import RefreshToken, Session
from api_server.database import Sessions, transaction, utc_now
from api_server.deployments.models import Replica
from api_server.housekeeping.chores import CHORES, Place
from api_server.idempotency import IdempotentAnswer
from api_server.jobs.models import Job, JobAttempt, JobEvent
from tests.api_server.factories import FakeReplica, SignedIn, Worker, upload
from tests.api_server.housekeeping.doing import count, done

LONG_AGO = utc_now() - timedelta(days=60)


class TestExpiredSessions:
    async def test_forgets_what_is_past_and_nothing_else(
        self, maker: SignedIn, other: SignedIn, place: Place, sessions: Sessions
    ) -> None:
        async with transaction(sessions) as session:
            await session.execute(
                update(Session).where(Session.user_id == other.id).values(expires_at=LONG_AGO)
            )

        counts = await done(place, "expired_sessions")

        assert counts == {"sessions": 1, "invitations_and_resets": 0}
        assert (await count(sessions, Session), await count(sessions, RefreshToken)) == (1, 1)
        assert (await maker.http.get("/auth/me")).status_code == 200


class TestStaleEntries:
    async def test_forgets_what_is_past_and_nothing_else(
        self, maker: SignedIn, replica: FakeReplica, place: Place, sessions: Sessions
    ) -> None:
        for key in ("old", "new"):
            await maker.http.post("/projects", json={"name": key}, headers={"Idempotency-Key": key})
        await replica.sync()
        async with transaction(sessions) as session:
            await session.execute(
                update(IdempotentAnswer).where(IdempotentAnswer.key == "old").values(created_at=LONG_AGO)
            )
            await session.execute(update(Replica).values(seen_at=LONG_AGO))

        counts = await done(place, "stale_entries")

        assert counts == {"idempotency_keys": 1, "replicas": 1}
        assert await count(sessions, IdempotentAnswer) == 1


class TestOldLogs:
    async def test_forgets_events_of_jobs_long_over_and_keeps_these_jobs(
        self, maker: SignedIn, worker: Worker, place: Place, sessions: Sessions
    ) -> None:
        old, new, waiting = await upload(maker), await upload(maker), await upload(maker)
        for each in (old, new):
            await worker.profile(each["job_id"])
        async with transaction(sessions) as session:
            await session.execute(update(Job).where(Job.id == old["job_id"]).values(finished_at=LONG_AGO))
            both = JobEvent.job_id.in_([old["job_id"], waiting["job_id"]])
            await session.execute(update(JobEvent).where(both).values(created_at=LONG_AGO))

        counts = await done(place, "old_logs")

        assert counts == {"job_events": 3, "housekeeping_jobs": 0}
        async with transaction(sessions) as session:
            left = set(await session.scalars(select(JobEvent.job_id)))
        assert {str(each) for each in left} >= {new["job_id"], waiting["job_id"]}
        assert (await maker.http.get(f"/jobs/{old['job_id']}")).json()["status"] == "succeeded"

    async def test_forgets_its_own_old_jobs_with_all_about_them(
        self, place: Place, sessions: Sessions
    ) -> None:
        for _ in range(2):
            await done(place, "stale_entries")
        async with transaction(sessions) as session:
            first = await session.scalar(select(Job.id).order_by(Job.created_at).limit(1))
            await session.execute(update(Job).where(Job.id == first).values(finished_at=LONG_AGO))

        counts = await done(place, "old_logs")

        assert counts["housekeeping_jobs"] == 1
        assert (await count(sessions, Job), await count(sessions, JobAttempt)) == (2, 2)


class TestChores:
    async def test_are_all_done_on_a_platform_that_has_nothing(self, place: Place) -> None:
        counts = {name: await done(place, name) for name in CHORES}

        assert {name: sum(each.values()) for name, each in counts.items() if name != "platform_figures"} == {
            "expired_sessions": 0,
            "stale_entries": 0,
            "old_logs": 0,
            "orphaned_objects": 0,
        }

    async def test_say_to_an_administrator_how_far_they_came_and_what_they_did(
        self, admin: SignedIn, place: Place
    ) -> None:
        await done(place, "stale_entries")

        listed = (await admin.http.get("/jobs", params={"kind": "housekeeping"})).json()["items"]
        logs = (await admin.http.get(f"/jobs/{listed[0]['id']}/logs")).json()["items"]

        assert [(each["project_id"], each["progress"]["stage"]) for each in listed] == [(None, "done")]
        assert listed[0]["result"] == {
            "chore": "stale_entries",
            "counts": {"idempotency_keys": 0, "replicas": 0},
        }
        assert [each["message"] for each in logs] == ["idempotency_keys", "replicas"]
