"""The life of a job as workers, the reaper and its owner see it."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from api_server.database import Sessions, transaction, utc_now
from api_server.jobs import leases
from api_server.outbox import Doorbell
from platform_kit.contract.jobs import LogLine, Outcome, ProfileSpec, Progress, Queue
from tests.api_server.factories import (
    SignedIn,
    Worker,
    failure,
    new_model,
    profile_result,
    train_result,
    upload,
)
from tests.api_server.jobs.steps import bells, change, lapse, read, reap


class TestSubmit:
    async def test_leaves_one_doorbell_in_the_same_transaction(
        self, maker: SignedIn, sessions: Sessions
    ) -> None:
        dataset = await upload(maker)

        job = await read(maker, dataset["job_id"])

        assert (job["status"], job["kind"], job["attempt"], job["queue_position"]) == (
            "queued",
            "profile",
            0,
            1,
        )
        assert await bells(sessions, dataset["job_id"]) == 1

    async def test_counts_the_jobs_that_are_ahead(self, maker: SignedIn) -> None:
        first, second = await upload(maker), await upload(maker)

        positions = [(await read(maker, each["job_id"]))["queue_position"] for each in (first, second)]

        assert positions == [1, 2]


class TestClaim:
    async def test_gives_the_job_to_one_of_many(self, maker: SignedIn, worker: Worker) -> None:
        job_id = (await upload(maker))["job_id"]

        answers = await asyncio.gather(*(worker.named(f"w{n}").try_claim(job_id) for n in range(8)))

        assert sorted(each.status_code for each in answers) == [200] + [204] * 7
        job = await read(maker, job_id)
        assert (job["status"], job["attempt"]) == ("running", 1)

    async def test_says_all_that_the_worker_needs(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await upload(maker)

        claim = await worker.claim(dataset["job_id"])

        assert isinstance(claim.spec, ProfileSpec)
        assert claim.spec.dataset.sha256 == dataset["digest"]
        assert claim.lease_seconds == 30

    async def test_is_refused_without_the_internal_token(self, maker: SignedIn, client: Any) -> None:
        await upload(maker)

        answer = await client.post("http://api/internal/queues/data/claim", json={"worker": "w"})

        assert answer.status_code == 401

    async def test_waits_for_the_dataset_and_fails_with_its_problem(
        self, maker: SignedIn, worker: Worker
    ) -> None:
        dataset = await upload(maker)
        model = await new_model(maker, dataset_id=dataset["id"])
        assert (await worker.ask(Queue.ML)).status_code == 204

        claim = await worker.claim(dataset["job_id"])
        await worker.finish(
            claim, Outcome.FAILED, error=failure("ragged_row", "Line 3 has 2 fields.", status=422)
        )
        assert (await worker.ask(Queue.ML)).status_code == 204

        job = await read(maker, model["job_id"])
        assert (job["status"], job["error"]["code"]) == ("failed", "ragged_row")
        found = (await maker.http.get(f"/models/{model['id']}")).json()
        assert (found["status"], found["error"]["detail"]) == ("failed", "Line 3 has 2 fields.")
        rejected = (await maker.http.get(f"/datasets/{dataset['id']}")).json()
        assert (rejected["status"], rejected["error"]["code"]) == ("rejected", "ragged_row")


class TestHeartbeat:
    async def test_records_progress_and_logs(self, maker: SignedIn, worker: Worker) -> None:
        job_id = (await upload(maker))["job_id"]
        claim = await worker.claim(job_id)

        await worker.beat(
            claim,
            progress=[Progress(percent=40, stage="profiling", eta_seconds=2)],
            logs=[LogLine(at=utc_now(), message="a line")],
        )

        job = await read(maker, job_id)
        assert job["progress"] == {"percent": 40, "stage": "profiling", "eta_seconds": 2}

    async def test_renews_a_lapsed_lease_that_nobody_claimed(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        claim = await worker.claim(job_id)
        await lapse(sessions, job_id)
        assert (await reap(sessions)).lost == 1
        assert (await read(maker, job_id))["status"] == "queued"

        await worker.beat(claim)

        assert (await read(maker, job_id))["status"] == "running"
        assert (await worker.named("second").try_claim(job_id)).status_code == 204

    async def test_of_an_old_attempt_is_fenced(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        old = await worker.claim(job_id)
        await lapse(sessions, job_id)
        await reap(sessions)
        second = worker.named("second")
        new = await second.claim(job_id)

        assert (await worker.try_beat(old)).status_code == 409
        assert (await worker.try_finish(old, Outcome.SUCCEEDED, result=profile_result())).status_code == 409

        assert (await second.finish(new, Outcome.SUCCEEDED, result=profile_result())) == "succeeded"
        assert (await read(maker, job_id))["attempt"] == 2


class TestFinish:
    async def test_has_one_effect_however_often_it_is_sent(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await upload(maker)
        await worker.profile(dataset["job_id"])
        model = await new_model(maker, dataset_id=dataset["id"])
        claim = await worker.claim(model["job_id"])

        answers = await asyncio.gather(
            *(worker.try_finish(claim, Outcome.SUCCEEDED, result=train_result()) for _ in range(5))
        )

        assert sorted(each.status_code for each in answers) == [200] + [409] * 4
        versions = (await maker.http.get(f"/models/{model['id']}/versions")).json()
        assert [each["version"] for each in versions["items"]] == [1]

    async def test_released_goes_back_at_once_and_does_not_count(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        for _ in range(5):
            assert await worker.finish(await worker.claim(job_id), Outcome.RELEASED) == "queued"

        job = await read(maker, job_id)
        assert job["max_attempts"] - job["attempt"] == 3
        assert await bells(sessions, job_id) == 6

    async def test_interrupted_is_tried_again_later_and_fails_with_the_last_cause(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        for attempt in (1, 2, 3):
            await change(sessions, job_id, not_before=None)
            claim = await worker.claim(job_id)
            assert claim.attempt == attempt
            await worker.finish(claim, Outcome.INTERRUPTED, error=failure("child_crashed", "signal 9"))

        job = await read(maker, job_id)
        assert (job["status"], job["error"]["code"], job["attempt"]) == ("failed", "child_crashed", 3)
        dataset = (await maker.http.get("/datasets")).json()["items"][0]
        assert (dataset["status"], dataset["error"]["code"]) == ("failed", "child_crashed")


class TestReap:
    async def test_fails_a_job_whose_workers_were_all_lost(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        for _ in range(3):
            await worker.claim(job_id)
            await lapse(sessions, job_id)
            await reap(sessions)

        job = await read(maker, job_id)
        assert (job["status"], job["error"]["code"]) == ("failed", "worker_lost")

    async def test_by_three_at_once_requeues_each_job_once(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        job_ids = [(await upload(maker))["job_id"] for _ in range(5)]
        for job_id in job_ids:
            await worker.claim(job_id)
            await lapse(sessions, job_id)

        counts = await asyncio.gather(*(reap(sessions) for _ in range(3)))

        assert sum(each.lost for each in counts) == 5
        assert [await bells(sessions, job_id) for job_id in job_ids] == [2] * 5

    async def test_rings_again_where_nobody_came(self, maker: SignedIn, sessions: Sessions) -> None:
        job_id = (await upload(maker))["job_id"]
        async with transaction(sessions) as session:
            for bell in await session.scalars(select(Doorbell)):
                await session.delete(bell)
            await leases.rung(session, [UUID(job_id)])
        await change(sessions, job_id, doorbell_at=utc_now() - timedelta(seconds=30))

        assert not await reap(sessions, rering_seconds=40)
        assert (await reap(sessions, rering_seconds=20)).rung_again == 1
        assert not await reap(sessions, rering_seconds=20)

        assert await bells(sessions, job_id) == 1

    async def test_rings_no_more_than_there_are_fewer_bells_than_jobs(
        self, maker: SignedIn, sessions: Sessions
    ) -> None:
        job_ids = [(await upload(maker))["job_id"] for _ in range(5)]
        async with transaction(sessions) as session:
            for bell in await session.scalars(select(Doorbell)):
                await session.delete(bell)
        for job_id in job_ids:
            await change(sessions, job_id, doorbell_at=utc_now() - timedelta(seconds=30))

        assert not await reap(sessions, bells_out={Queue.DATA: 5})
        assert not await reap(sessions, bells_out={})
        assert (await reap(sessions, bells_out={Queue.DATA: 3})).rung_again == 2

        assert [await bells(sessions, job_id) for job_id in job_ids] == [1, 1, 0, 0, 0]

    async def test_gives_the_last_attempt_half_a_lease_more(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        await change(sessions, job_id, max_attempts=1)
        claim = await worker.claim(job_id)
        await lapse(sessions, job_id, seconds=14)
        assert not await reap(sessions)
        await worker.beat(claim)
        await lapse(sessions, job_id, seconds=16)

        assert (await reap(sessions)).lost == 1
        assert (await read(maker, job_id))["error"]["code"] == "worker_lost"


class TestCancel:
    async def test_ends_a_waiting_job_at_once(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await upload(maker)

        answer = await maker.http.post(f"/jobs/{dataset['job_id']}/cancel")

        assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
        assert answer.headers["Location"] == f"/api/v1/jobs/{dataset['job_id']}"
        assert (await worker.try_claim(dataset["job_id"])).status_code == 204
        again = await maker.http.post(f"/jobs/{dataset['job_id']}/cancel")
        assert (again.status_code, again.json()["code"]) == (409, "job_is_over")

    async def test_is_told_to_a_running_job_at_its_next_heartbeat(
        self, maker: SignedIn, worker: Worker
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        claim = await worker.claim(job_id)
        assert (await worker.beat(claim)).cancel_requested is False

        assert (await maker.http.post(f"/jobs/{job_id}/cancel")).json()["status"] == "running"

        assert (await worker.beat(claim)).cancel_requested is True
        assert await worker.finish(claim, Outcome.CANCELLED) == "cancelled"

    async def test_keeps_a_lost_job_from_coming_back(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        await worker.claim(job_id)
        await maker.http.post(f"/jobs/{job_id}/cancel")
        await lapse(sessions, job_id)

        await reap(sessions)

        assert (await read(maker, job_id))["status"] == "cancelled"
