"""What two things do to a job when they happen at once, and what one faulty job does to the others."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from api_server.database import Sessions, transaction
from api_server.datasets.models import DatasetVersion
from api_server.handlers import HANDLERS
from api_server.jobs import leases
from api_server.jobs.models import Job
from api_server.settings import Settings
from api_server.training.handlers import TrainHandler
from platform_kit.contract.jobs import Claim, Outcome, Queue
from tests.api_server.factories import (
    SignedIn,
    Worker,
    failure,
    new_model,
    profile_result,
    train_result,
    trained_model,
    upload,
)
from tests.api_server.jobs.steps import bells, change, lapse, read, reap


async def ready_dataset(who: SignedIn, worker: Worker) -> str:
    dataset = await upload(who)
    await worker.profile(dataset["job_id"])
    return str(dataset["id"])


class TestAFaultyJob:
    @pytest.mark.parametrize("gives_up", [True, False])
    async def test_holds_up_no_other(
        self,
        maker: SignedIn,
        other: SignedIn,
        worker: Worker,
        monkeypatch: pytest.MonkeyPatch,
        gives_up: bool,
    ) -> None:
        """With a fault planted in our own code, since none is known that lasts."""
        faulty = await new_model(maker, dataset_id=await ready_dataset(maker, worker))
        well = await new_model(other, dataset_id=await ready_dataset(other, worker))
        wanted = TrainHandler.describe

        async def describe(self: TrainHandler, session: Any, job: Job) -> Any:
            if str(job.id) == faulty["job_id"]:
                raise KeyError("planted")
            return await wanted(self, session, job)

        async def give_up(*_: object) -> None:
            raise KeyError("planted as well")

        monkeypatch.setattr(TrainHandler, "describe", describe)
        if not gives_up:
            monkeypatch.setattr(TrainHandler, "give_up", give_up)

        claim = await worker.claim(well["job_id"])

        assert await worker.finish(claim, Outcome.SUCCEEDED, result=train_result()) == "succeeded"
        job = await read(maker, faulty["job_id"])
        if gives_up:
            assert (job["status"], job["error"]["code"]) == ("failed", "internal_error")
        else:
            assert job["status"] == "queued"

    async def test_that_is_lost_keeps_no_other_from_being_taken_back(
        self, maker: SignedIn, worker: Worker, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dataset_id = await ready_dataset(maker, worker)
        faulty = (await new_model(maker, dataset_id=dataset_id))["job_id"]
        well = (await new_model(maker, dataset_id=dataset_id))["job_id"]
        for job_id in (faulty, well):
            await worker.claim(job_id)
            await change(sessions, job_id, max_attempts=1)
            await lapse(sessions, job_id)
        wanted = TrainHandler.give_up

        async def give_up(self: TrainHandler, session: Any, job: Job, error: Any) -> None:
            if str(job.id) == faulty:
                raise KeyError("planted")
            await wanted(self, session, job, error)

        monkeypatch.setattr(TrainHandler, "give_up", give_up)

        await reap(sessions)

        assert (await read(maker, well))["status"] == "failed"
        assert (await read(maker, faulty))["status"] == "running"


class TestWaitingForADataset:
    async def test_begins_again_when_the_dataset_is_profiled_again(
        self, maker: SignedIn, worker: Worker
    ) -> None:
        dataset = await upload(maker)
        model = await new_model(maker, dataset_id=dataset["id"])
        await maker.http.post(f"/jobs/{dataset['job_id']}/cancel")
        profile = (await maker.http.post(f"/jobs/{dataset['job_id']}/retry")).json()["id"]

        assert (await worker.ask(Queue.ML)).status_code == 204
        job = await read(maker, model["job_id"])
        assert (job["status"], job["attempt"]) == ("queued", 0)
        assert job["progress"]["stage"] == "waiting for its dataset"

        await worker.profile(profile)
        assert str((await worker.claim(model["job_id"])).job_id) == model["job_id"]

    async def test_does_not_miss_that_it_became_ready(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        """While the training is being asked for, the profile is handed in but not yet committed."""
        dataset = await upload(maker)
        version = DatasetVersion.dataset_id == UUID(dataset["id"])
        async with transaction(sessions) as session:
            await session.execute(update(DatasetVersion).where(version).values(status="ready"))
            asking = asyncio.create_task(new_model(maker, dataset_id=dataset["id"]))
            await asyncio.sleep(0.5)
            assert not asking.done()
            profile = profile_result()
            values = {
                "columns": [each.model_dump(mode="json") for each in profile.columns],
                "statistics": profile.statistics.model_dump(mode="json"),
            }
            await session.execute(update(DatasetVersion).where(version).values(**values))

        model = await asking

        assert (await read(maker, model["job_id"]))["progress"]["stage"] == "queued"

    async def test_ends_when_nobody_makes_it_any_more(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        model = await new_model(maker, dataset_id=await ready_dataset(maker, worker))
        await change(sessions, model["job_id"], waits_for=UUID(int=7))

        assert (await reap(sessions)).let_go == 1

        assert await bells(sessions, model["job_id"]) == 2
        assert str((await worker.claim(model["job_id"])).job_id) == model["job_id"]

    async def test_goes_on_while_its_profile_is_under_way(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        dataset = await upload(maker)
        await new_model(maker, dataset_id=dataset["id"])
        assert not await reap(sessions, rering_seconds=60)
        await worker.claim(dataset["job_id"])

        assert not await reap(sessions, rering_seconds=60)


class TestClaimsAtOnce:
    async def test_of_one_name_get_one_job(self, maker: SignedIn, worker: Worker, sessions: Sessions) -> None:
        for _ in range(4):
            await upload(maker)

        answers = await asyncio.gather(*(worker.ask(Queue.DATA, as_="impatient") for _ in range(4)))

        assert len({each.json()["job_id"] for each in answers}) == 1
        async with transaction(sessions) as session:
            running = (await session.scalars(select(Job).where(Job.status == "running"))).all()
        assert [job.attempt for job in running] == [1]

    async def test_wait_for_a_job_that_is_locked_for_a_moment(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        async with transaction(sessions) as session:
            await session.execute(select(Job.id).where(Job.id == UUID(job_id)).with_for_update())
            asking = asyncio.create_task(worker.ask(Queue.DATA))
            await asyncio.sleep(0.3)
            assert not asking.done()

        assert (await asking).json()["job_id"] == job_id


class TestRetry:
    async def test_does_not_reach_a_dataset_that_is_no_longer_visible(
        self, maker: SignedIn, other: SignedIn, worker: Worker
    ) -> None:
        theirs = (await maker.http.post("/projects", json={"name": "theirs"})).json()["id"]
        member = {"username": other.username, "role": "viewer"}
        await maker.http.post(f"/projects/{theirs}/members", json=member)
        dataset = await upload(maker, project_id=theirs)
        await worker.profile(dataset["job_id"])
        own = (await other.http.post("/projects", json={"name": "own"})).json()["id"]
        model = await new_model(other, dataset_id=dataset["id"], project_id=own)
        await worker.finish(await worker.claim(model["job_id"]), Outcome.FAILED, error=failure("timeout"))
        await maker.http.delete(f"/projects/{theirs}/members/{other.id}")

        answer = await other.http.post(f"/jobs/{model['job_id']}/retry")

        assert (answer.status_code, answer.json()["code"]) == (409, "cannot_be_done_again")

    async def test_at_once_makes_one_job(self, maker: SignedIn, worker: Worker) -> None:
        model = await new_model(maker, dataset_id=await ready_dataset(maker, worker))
        await worker.finish(await worker.claim(model["job_id"]), Outcome.FAILED, error=failure("timeout"))

        answers = await asyncio.gather(*(maker.http.post(f"/jobs/{model['job_id']}/retry") for _ in range(4)))

        assert sorted(each.status_code for each in answers) == [202, 409, 409, 409]
        new = next(each.json()["id"] for each in answers if each.status_code == 202)
        refusals = [each.json()["detail"] for each in answers if each.status_code == 409]
        assert all(new in each for each in refusals)


class TestDeletingAModel:
    async def test_stops_an_older_training_of_it(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        model = await trained_model(maker, worker)
        older = (await maker.http.post(f"/models/{model['id']}/train", json={})).json()
        claim = await worker.claim(older["id"])
        newer = (await maker.http.post(f"/models/{model['id']}/train", json={})).json()
        await worker.finish(await worker.claim(newer["id"]), Outcome.SUCCEEDED, result=train_result())

        assert (await maker.http.delete(f"/models/{model['id']}")).status_code == 204

        assert (await worker.beat(claim)).cancel_requested is True
        refused = await worker.try_finish(claim, Outcome.SUCCEEDED, result=train_result())
        assert refused.status_code == 422
        assert await worker.finish(claim, Outcome.FAILED, error=failure("result_refused")) == "cancelled"


class TestAnEndedJob:
    async def test_waits_for_nothing(self, maker: SignedIn, worker: Worker) -> None:
        job_id = (await upload(maker))["job_id"]
        await worker.finish(await worker.claim(job_id), Outcome.INTERRUPTED)

        await maker.http.post(f"/jobs/{job_id}/cancel")

        job = await read(maker, job_id)
        assert (job["status"], job["next_attempt_at"]) == ("cancelled", None)
        assert job["progress"]["stage"] == "cancelled"


class TestLargeResults:
    async def test_are_taken(self, maker: SignedIn, worker: Worker) -> None:
        claim = await worker.claim((await upload(maker))["job_id"])
        profile = profile_result()
        profile.preview.extend({"city": f"{number}-{'x' * 1000}"} for number in range(6000))
        assert len(json.dumps(profile.model_dump(mode="json"))) > 6_000_000

        assert await worker.finish(claim, Outcome.SUCCEEDED, result=profile) == "succeeded"


async def test_lowered_limits_of_the_platform_count_for_old_jobs(
    maker: SignedIn, worker: Worker, sessions: Sessions, settings: Settings
) -> None:
    job = {"time_limit_seconds": 3000, "memory_limit_bytes": 2**33}
    model = await new_model(maker, dataset_id=await ready_dataset(maker, worker), job=job)
    changes = {"job_time_limit_seconds": 60, "job_memory_limit_bytes": 2**30}
    lowered = settings.model_copy(update=changes)

    async with transaction(sessions) as session:
        claim = await leases.claim(session, Queue.ML, worker="w", handlers=HANDLERS, settings=lowered)

    assert isinstance(claim, Claim)
    assert str(claim.job_id) == model["job_id"]
    assert (claim.time_limit_seconds, claim.memory_limit_bytes) == (60, 2**30)
