"""What a job's owner reads of its attempts."""

from typing import Any

from api_server.database import Sessions
from platform_kit.contract.jobs import Outcome
from tests.api_server.factories import SignedIn, Worker, failure, profile_result, upload
from tests.api_server.jobs.steps import change, lapse, read, reap


async def attempts(who: SignedIn, job_id: str) -> list[dict[str, Any]]:
    answer = await who.http.get(f"/jobs/{job_id}/attempts")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def outcomes(who: SignedIn, job_id: str) -> list[tuple[str | None, str | None]]:
    return [(each["outcome"], (each["error"] or {}).get("code")) for each in await attempts(who, job_id)]


class TestAttempts:
    async def test_are_none_before_a_worker_came(self, maker: SignedIn) -> None:
        assert await attempts(maker, (await upload(maker))["job_id"]) == []

    async def test_name_their_worker_and_times(self, maker: SignedIn, worker: Worker) -> None:
        job_id = (await upload(maker))["job_id"]
        claim = await worker.claim(job_id)

        (running,) = await attempts(maker, job_id)
        await worker.finish(claim, Outcome.SUCCEEDED, result=profile_result())
        (ended,) = await attempts(maker, job_id)

        assert (running["number"], running["worker"]) == (1, worker.called(claim))
        assert (running["ended_at"], running["outcome"]) == (None, None)
        assert ended["outcome"] == "succeeded"
        assert ended["started_at"] < ended["ended_at"]

    async def test_say_why_each_ended(self, maker: SignedIn, worker: Worker, sessions: Sessions) -> None:
        job_id = (await upload(maker))["job_id"]
        await worker.finish(await worker.claim(job_id), Outcome.RELEASED)
        await worker.finish(
            await worker.claim(job_id), Outcome.INTERRUPTED, error=failure("storage_unavailable")
        )
        await change(sessions, job_id, not_before=None)
        await worker.claim(job_id)
        await lapse(sessions, job_id)
        await reap(sessions)
        await worker.finish(await worker.claim(job_id), Outcome.FAILED, error=failure("timeout"))

        assert await outcomes(maker, job_id) == [
            ("released", None),
            ("interrupted", "storage_unavailable"),
            ("lost", "worker_lost"),
            ("failed", "timeout"),
        ]

    async def test_go_on_when_a_worker_that_seemed_lost_is_heard_again(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        claim = await worker.claim(job_id)
        await lapse(sessions, job_id)
        await reap(sessions)
        assert await outcomes(maker, job_id) == [("lost", "worker_lost")]

        await worker.beat(claim)

        assert await outcomes(maker, job_id) == [(None, None)]
        assert (await read(maker, job_id))["status"] == "running"

    async def test_of_a_foreign_job_are_not_found(self, maker: SignedIn, other: SignedIn) -> None:
        job_id = (await upload(maker))["job_id"]

        assert (await other.http.get(f"/jobs/{job_id}/attempts")).status_code == 404


class TestHandingIn:
    async def test_twice_is_fenced_also_while_the_next_attempt_is_waited_for(
        self, maker: SignedIn, worker: Worker
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        claim = await worker.claim(job_id)
        await worker.finish(claim, Outcome.RELEASED)

        assert (await worker.try_finish(claim, Outcome.RELEASED)).status_code == 409
        assert (await worker.try_beat(claim)).status_code == 409
        assert (await read(maker, job_id))["max_attempts"] == 4

    async def test_a_failure_after_a_cancel_is_the_cancel(self, maker: SignedIn, worker: Worker) -> None:
        job_id = (await upload(maker))["job_id"]
        claim = await worker.claim(job_id)
        await maker.http.post(f"/jobs/{job_id}/cancel")

        assert await worker.finish(claim, Outcome.FAILED, error=failure("file_missing")) == "cancelled"

    async def test_a_success_after_a_cancel_stands(self, maker: SignedIn, worker: Worker) -> None:
        job_id = (await upload(maker))["job_id"]
        claim = await worker.claim(job_id)
        await maker.http.post(f"/jobs/{job_id}/cancel")

        assert await worker.finish(claim, Outcome.SUCCEEDED, result=profile_result()) == "succeeded"
