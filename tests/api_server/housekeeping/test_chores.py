from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update

from api_server.auth.models import RefreshToken, Session
from api_server.database import Sessions, transaction, utc_now
from api_server.deployments.models import Replica
from api_server.handlers import HANDLERS
from api_server.housekeeping.chores import CHORES
from api_server.idempotency import IdempotentAnswer
from api_server.jobs import service as jobs
from api_server.jobs.models import Job, JobEvent
from api_server.jobs.service import Work
from api_server.settings import Settings
from platform_kit.contract.jobs import Finish, HousekeepingResult, JobKind, Outcome
from tests.api_server.factories import FakeReplica, SignedIn, Worker, upload

LONG_AGO = utc_now() - timedelta(days=60)


async def count(sessions: Sessions, table: Any) -> int:
    async with transaction(sessions) as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


class TestForget:
    async def test_deletes_what_is_past_and_nothing_else(
        self,
        maker: SignedIn,
        other: SignedIn,
        worker: Worker,
        replica: FakeReplica,
        sessions: Sessions,
        settings: Settings,
    ) -> None:
        old, new = await upload(maker), await upload(maker)
        await worker.profile(old["job_id"])
        await worker.profile(new["job_id"])
        for key in ("old", "new"):
            await maker.http.post("/projects", json={"name": key}, headers={"Idempotency-Key": key})
        await replica.sync()
        async with transaction(sessions) as session:
            await session.execute(update(Job).where(Job.id == old["job_id"]).values(finished_at=LONG_AGO))
            await session.execute(
                update(IdempotentAnswer).where(IdempotentAnswer.key == "old").values(created_at=LONG_AGO)
            )
            await session.execute(
                update(Session).where(Session.user_id == other.id).values(expires_at=LONG_AGO)
            )
            await session.execute(update(Replica).values(seen_at=LONG_AGO))

        async with transaction(sessions) as session:
            counts = await CHORES["forget"](session, settings)

        assert counts == {
            "sessions": 1,
            "invitations_and_resets": 0,
            "idempotency_keys": 1,
            "job_events": 3,
            "replicas": 1,
        }
        assert (await count(sessions, Session), await count(sessions, RefreshToken)) == (1, 1)
        assert (await count(sessions, Job), await count(sessions, JobEvent)) == (2, 3)
        assert (await maker.http.get("/auth/me")).status_code == 200


class TestChoreAsJob:
    async def test_shows_its_result(self, maker: SignedIn, sessions: Sessions, settings: Settings) -> None:
        async with transaction(sessions) as session:
            job = await jobs.submit(
                session,
                work=Work(
                    kind=JobKind.HOUSEKEEPING,
                    subject_id=maker.id,
                    project_id=None,
                    created_by=None,
                    request={"chore": "forget"},
                ),
                max_attempts=3,
            )
        async with transaction(sessions) as session:
            claim = await jobs.claim(session, job.id, worker="g", handlers=HANDLERS, settings=settings)
        assert claim is not None
        end = Finish(
            worker="g",
            attempt=1,
            outcome=Outcome.SUCCEEDED,
            result=HousekeepingResult(counts={"sessions": 2}),
        )
        async with transaction(sessions) as session:
            ended = await jobs.finish(session, job.id, end, handlers=HANDLERS)

        assert (ended.status, ended.result) == ("succeeded", {"sessions": 2})
        assert (await maker.http.get(f"/jobs/{job.id}")).status_code == 404
