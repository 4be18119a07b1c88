import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import delete, text, update

from api_server.auth.models import Session
from api_server.database import AsyncSession, DatabaseUnavailable, Sessions, transaction
from api_server.handlers import HANDLERS
from api_server.housekeeping.chores import AtOnce, Chore, Counts, InSteps, Place, Say
from api_server.housekeeping.runner import ChoreRunner
from api_server.jobs import leases
from api_server.jobs.models import Job
from api_server.settings import Settings
from platform_kit.contract.access import Notice, NoticeKind
from platform_kit.contract.jobs import Outcome
from platform_kit.plumbing.object_store import ObjectStore, StorageUnavailable
from tests.api_server.factories import SignedIn
from tests.api_server.housekeeping.doing import count, now, runner, submit, until


def in_steps(work: Callable[[], Awaitable[object]]) -> Chore:
    async def run(place: Place, say: Say) -> Counts:
        say(40, "half way")
        await work()
        return {"things": 2}

    return Chore("Does what a test says", InSteps(run))


def at_once(step: Callable[[AsyncSession, Settings], Awaitable[int]]) -> Chore:
    return Chore("Does what a test says", AtOnce({"things": step}))


class Latch:
    """Work that waits until the test lets it go."""

    def __init__(self) -> None:
        self.begun, self.let_go, self.was_cancelled = asyncio.Event(), asyncio.Event(), False

    async def wait(self) -> None:
        self.begun.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


@asynccontextmanager
async def under_way(
    place: Place, chore: Chore, begun: asyncio.Event
) -> AsyncIterator[tuple[ChoreRunner, Job, "asyncio.Task[Outcome | None]"]]:
    job = await submit(place.sessions, "test")
    doing = runner(place, test=chore)
    task = asyncio.create_task(doing.run())
    async with asyncio.timeout(5):
        await begun.wait()
    yield doing, job, task
    async with asyncio.timeout(5):
        await asyncio.gather(task, return_exceptions=True)


def quick(place: Place, **changes: Any) -> Place:
    return Place(place.sessions, place.store, place.settings.model_copy(update=changes))


class TestRun:
    async def test_without_a_job_does_nothing(self, place: Place) -> None:
        assert await runner(place).run() is None

    async def test_takes_the_oldest_and_names_each_claim_anew(self, place: Place, sessions: Sessions) -> None:
        first, second = [await submit(sessions, "stale_entries") for _ in range(2)]
        doing = runner(place)

        assert await doing.run() is Outcome.SUCCEEDED
        assert (await now(sessions, second)).status == "queued"
        assert await doing.run() is Outcome.SUCCEEDED

        assert [(await now(sessions, job)).status for job in (first, second)] == ["succeeded", "succeeded"]

    async def test_of_a_chore_that_is_no_more_fails_its_job(self, place: Place, sessions: Sessions) -> None:
        job = await submit(sessions, "forget")

        assert await runner(place).run() is None

        ended = await now(sessions, job)
        assert (ended.status, (ended.error or {})["code"]) == ("failed", "not_found")


class TestLease:
    async def test_is_kept_as_long_as_the_chore_takes(self, place: Place, sessions: Sessions) -> None:
        short = quick(place, job_lease_seconds=0.6, job_heartbeat_seconds=0.15)
        latch = Latch()
        async with under_way(short, in_steps(latch.wait), latch.begun) as (_, job, task):
            for _ in range(15):
                async with transaction(sessions) as session:
                    assert not await leases.reap(
                        session, handlers=HANDLERS, settings=short.settings, bells_out={}
                    )
                await asyncio.sleep(0.1)
            latch.let_go.set()
            assert await task is Outcome.SUCCEEDED

        ended = await now(sessions, job)
        assert (ended.attempt, ended.result) == (1, {"chore": "test", "counts": {"things": 2}})

    async def test_shows_how_far_it_is(self, place: Place, sessions: Sessions) -> None:
        latch = Latch()
        async with under_way(place, in_steps(latch.wait), latch.begun) as (_, job, _task):

            async def is_told() -> bool:
                return (await now(sessions, job)).progress == {
                    "percent": 40.0,
                    "stage": "half way",
                    "eta_seconds": None,
                }

            await until(is_told)
            latch.let_go.set()

    @pytest.mark.parametrize("is_at_once", [False, True])
    async def test_that_was_lost_stops_the_chore_and_nothing_is_written(
        self, place: Place, sessions: Sessions, maker: SignedIn, is_at_once: bool
    ) -> None:
        latch = Latch()

        async def forget_all(session: AsyncSession, _: Settings) -> int:
            await session.execute(delete(Session))
            await latch.wait()
            return 1

        chore = at_once(forget_all) if is_at_once else in_steps(latch.wait)
        async with under_way(place, chore, latch.begun) as (doing, job, task):
            await _give_to_another(sessions, job)
            doing.hear([Notice(kind=NoticeKind.JOB, id=job.id)])
            assert await task is None

        assert latch.was_cancelled
        assert await count(sessions, Session) == 1
        assert (await now(sessions, job)).status == "running"

    async def test_that_is_lost_at_the_last_moment_undoes_the_work(
        self, place: Place, sessions: Sessions, maker: SignedIn
    ) -> None:
        latch = Latch()

        async def forget_all(session: AsyncSession, _: Settings) -> int:
            await session.execute(delete(Session))
            await latch.wait()
            return 1

        async with under_way(place, at_once(forget_all), latch.begun) as (_, job, task):
            await _give_to_another(sessions, job)
            latch.let_go.set()
            assert await task is None

        assert await count(sessions, Session) == 1


class TestCancel:
    @pytest.mark.parametrize("is_told", [True, False])
    async def test_stops_the_chore_at_the_notice_or_at_the_next_heartbeat(
        self, place: Place, sessions: Sessions, admin: SignedIn, is_told: bool
    ) -> None:
        patient = place if is_told else quick(place, job_heartbeat_seconds=0.2)
        latch = Latch()
        async with under_way(patient, in_steps(latch.wait), latch.begun) as (doing, job, task):
            assert (await admin.http.post(f"/jobs/{job.id}/cancel")).status_code == 202
            if is_told:
                doing.hear([Notice(kind=NoticeKind.JOB, id=job.id)])
            async with asyncio.timeout(1):
                assert await task is Outcome.CANCELLED

        assert latch.was_cancelled
        assert (await now(sessions, job)).status == "cancelled"


class TestStop:
    async def test_hands_the_job_back_at_once_and_takes_no_other(
        self, place: Place, sessions: Sessions
    ) -> None:
        latch = Latch()
        async with under_way(place, in_steps(latch.wait), latch.begun) as (doing, job, task):
            doing.stop()
            async with asyncio.timeout(1):
                assert await task is Outcome.RELEASED

            back = await now(sessions, job)
            assert (back.status, back.not_before, back.max_attempts) == ("queued", None, 4)
            assert await doing.run() is None


class TestTimeLimit:
    async def test_ends_the_chore(self, place: Place, sessions: Sessions) -> None:
        latch = Latch()
        hurried = quick(place, job_time_limit_seconds=0.2)
        async with under_way(hurried, in_steps(latch.wait), latch.begun) as (_, job, task):
            assert await task is Outcome.FAILED

        assert ((await now(sessions, job)).error or {})["code"] == "timeout"


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "code"),
        [
            (StorageUnavailable("away"), "storage_unavailable"),
            (DatabaseUnavailable(), "database_unavailable"),
        ],
    )
    async def test_that_pass_are_followed_by_another_attempt_later(
        self, place: Place, sessions: Sessions, fault: Exception, code: str
    ) -> None:
        async def fails() -> None:
            raise fault

        job = await submit(sessions, "test")

        assert await runner(place, test=in_steps(fails)).run() is Outcome.INTERRUPTED

        back = await now(sessions, job)
        assert (back.status, back.attempt) == ("queued", 1)
        assert back.not_before is not None

    async def test_of_the_storage_that_last_fail_the_job_with_their_name(
        self, place: Place, sessions: Sessions, settings: Settings
    ) -> None:
        away = ObjectStore.from_settings(settings.model_copy(update={"s3_endpoint": "127.0.0.1:1"}))
        job = await submit(sessions, "orphaned_objects")
        doing = runner(Place(sessions, away, settings))

        for _ in range(3):
            assert await doing.run() is Outcome.INTERRUPTED
            await _let_it_be_tried_again(sessions, job)

        ended = await now(sessions, job)
        assert (ended.status, (ended.error or {})["code"]) == ("failed", "storage_unavailable")

    async def test_of_our_own_are_not_tried_again_and_say_their_class(
        self, place: Place, sessions: Sessions
    ) -> None:
        async def wrong(session: AsyncSession, _: Settings) -> int:
            raise ZeroDivisionError

        job = await submit(sessions, "test")

        assert await runner(place, test=at_once(wrong)).run() is Outcome.FAILED

        error = (await now(sessions, job)).error or {}
        assert (error["code"], "ZeroDivisionError" in error["detail"]) == ("internal_error", True)

    async def test_of_the_database_in_the_middle_undo_the_work_and_let_it_be_done_again(
        self, place: Place, sessions: Sessions, maker: SignedIn
    ) -> None:
        latch = Latch()

        async def forget_all(session: AsyncSession, _: Settings) -> int:
            await session.execute(delete(Session))
            await latch.wait()
            await session.execute(text("SELECT 1"))
            return 1

        async with under_way(place, at_once(forget_all), latch.begun) as (doing, job, task):
            await _drop_connections(sessions)
            latch.let_go.set()
            assert await task is Outcome.INTERRUPTED

            assert await count(sessions, Session) == 1
            await _let_it_be_tried_again(sessions, job)
            assert await doing.run() is Outcome.SUCCEEDED

        assert await count(sessions, Session) == 0


async def _give_to_another(sessions: Sessions, job: Job) -> None:
    """As after a lapsed lease and another worker's claim."""
    async with transaction(sessions) as session:
        await session.execute(update(Job).where(Job.id == job.id).values(attempt=2, lease_owner="another"))


async def _let_it_be_tried_again(sessions: Sessions, job: Job) -> None:
    async with transaction(sessions) as session:
        await session.execute(update(Job).where(Job.id == job.id).values(not_before=None))


async def _drop_connections(sessions: Sessions) -> None:
    """What a restart of Postgres does to those who are connected."""
    async with transaction(sessions) as session:
        await session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = current_user AND pid <> pg_backend_pid()"
            )
        )
