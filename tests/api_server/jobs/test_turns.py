"""Whose turn it is: projects take turns, within a project priority and age decide."""

import asyncio
from typing import Any

import pytest

from api_server.database import Sessions, utc_now
from platform_kit.contract.jobs import Outcome, Queue
from tests.api_server.factories import SignedIn, Worker, upload
from tests.api_server.jobs.steps import change, lapse, read, reap


async def submit(who: SignedIn, count: int = 1) -> list[str]:
    return [(await upload(who))["job_id"] for _ in range(count)]


async def drained(worker: Worker) -> list[str]:
    """Claim and finish until nothing waits; the ids in the order of their turns."""
    found = []
    while (answer := await worker.ask(Queue.DATA)).status_code == 200:
        claim: dict[str, Any] = answer.json()
        found.append(claim["job_id"])
        await worker.claimed_profile(claim["job_id"], claim["attempt"])
    return found


class TestTurns:
    async def test_of_one_project_go_by_age(self, maker: SignedIn, worker: Worker) -> None:
        first, second, third = await submit(maker, 3)

        assert await drained(worker) == [first, second, third]

    async def test_alternate_between_projects(self, maker: SignedIn, other: SignedIn, worker: Worker) -> None:
        crowd = await submit(maker, 5)
        one, two = await submit(other, 2)

        assert await drained(worker) == [crowd[0], one, crowd[1], two, *crowd[2:]]

    async def test_begin_with_the_project_that_has_waited_longest(
        self, maker: SignedIn, other: SignedIn, worker: Worker
    ) -> None:
        await submit(maker)
        await drained(worker)
        mine = (await submit(maker))[0]
        theirs = (await submit(other))[0]

        assert await drained(worker) == [theirs, mine]

    async def test_of_one_project_go_by_priority_first(self, maker: SignedIn, worker: Worker) -> None:
        usual, urgent, idle = await submit(maker, 3)
        await maker.http.patch(f"/jobs/{urgent}", json={"priority": 9})
        await maker.http.patch(f"/jobs/{idle}", json={"priority": 0})

        assert await drained(worker) == [urgent, usual, idle]

    async def test_are_not_bought_from_another_project_by_priority(
        self, maker: SignedIn, other: SignedIn, worker: Worker
    ) -> None:
        greedy = await submit(maker, 3)
        for each in greedy:
            await maker.http.patch(f"/jobs/{each}", json={"priority": 9})
        modest = (await submit(other))[0]

        assert (await drained(worker)).index(modest) == 1

    async def test_skip_what_may_not_run_yet(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        late, free = await submit(maker, 2)
        await change(sessions, late, not_before=utc_now().replace(year=2100))

        assert await drained(worker) == [free]

    async def test_are_given_once_each_to_workers_that_ask_at_once(
        self, maker: SignedIn, other: SignedIn, worker: Worker
    ) -> None:
        waiting = {*await submit(maker, 4), *await submit(other, 2)}

        answers = await asyncio.gather(*(worker.ask(Queue.DATA) for _ in range(12)))

        given = [each.json()["job_id"] for each in answers if each.status_code == 200]
        assert len(given) == len(set(given))
        assert set(given) == waiting

    @pytest.mark.parametrize("queue", [Queue.ML, Queue.GENERAL])
    async def test_are_those_of_one_queue(self, maker: SignedIn, worker: Worker, queue: Queue) -> None:
        await submit(maker)

        assert (await worker.ask(queue)).status_code == 204


class TestClaimOnceMore:
    async def test_under_the_same_name_gives_the_same_attempt(self, maker: SignedIn, worker: Worker) -> None:
        await submit(maker, 2)

        first, again = [await worker.ask(Queue.DATA, as_="one claim") for _ in range(2)]

        assert first.json() == again.json()
        assert again.json()["attempt"] == 1

    async def test_is_another_job_once_the_first_is_over(self, maker: SignedIn, worker: Worker) -> None:
        _, second = await submit(maker, 2)
        claim = (await worker.ask(Queue.DATA, as_="one claim")).json()
        await worker.claimed_profile(claim["job_id"], claim["attempt"])

        assert (await worker.ask(Queue.DATA, as_="one claim")).json()["job_id"] == second

    async def test_does_not_bring_back_what_was_taken_away(
        self, maker: SignedIn, worker: Worker, sessions: Sessions
    ) -> None:
        (job_id,) = await submit(maker)
        await worker.ask(Queue.DATA, as_="slow")
        await lapse(sessions, job_id)
        await reap(sessions)
        await worker.ask(Queue.DATA, as_="quick")

        assert (await worker.ask(Queue.DATA, as_="slow")).status_code == 204


class TestQueuePosition:
    async def test_is_the_turn(self, maker: SignedIn, other: SignedIn) -> None:
        crowd = await submit(maker, 3)
        (single,) = await submit(other)

        positions = [(await read(maker, each))["queue_position"] for each in crowd]

        assert positions == [1, 3, 4]
        assert (await read(other, single))["queue_position"] == 2

    async def test_moves_on_as_jobs_begin(self, maker: SignedIn, worker: Worker) -> None:
        first, second = await submit(maker, 2)
        await worker.claim(first)

        assert [(await read(maker, each))["queue_position"] for each in (first, second)] == [None, 1]

    async def test_is_none_while_something_else_is_waited_for(self, maker: SignedIn, worker: Worker) -> None:
        (job_id,) = await submit(maker)
        claim = await worker.claim(job_id)
        await worker.finish(claim, Outcome.INTERRUPTED)

        job = await read(maker, job_id)
        assert (job["status"], job["queue_position"]) == ("queued", None)
        assert job["progress"]["stage"] == "waiting to be tried again"
        assert job["next_attempt_at"] is not None

    async def test_is_in_lists_too(self, maker: SignedIn) -> None:
        await submit(maker, 3)

        items = (await maker.http.get("/jobs", params={"sort": "created_at"})).json()["items"]

        assert [each["queue_position"] for each in items] == [1, 2, 3]
