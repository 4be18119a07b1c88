import asyncio
from typing import Any

import httpx2
import pytest

from api_server.settings import Settings
from platform_kit.contract.access import Role
from platform_kit.contract.jobs import LogLine, Outcome, Progress
from tests.api_server.conftest import SignIn
from tests.api_server.factories import (
    SignedIn,
    Worker,
    failure,
    new_model,
    profile_result,
    trained_model,
    upload,
)
from tests.api_server.jobs.steps import read

UNKNOWN = "00000000-0000-4000-8000-000000000000"


class TestGet:
    async def test_needs_a_credential(self, client: httpx2.AsyncClient) -> None:
        assert (await client.get(f"/jobs/{UNKNOWN}")).status_code == 401

    async def test_hides_a_foreign_job_as_if_it_were_unknown(self, maker: SignedIn, other: SignedIn) -> None:
        job_id = (await upload(maker))["job_id"]

        foreign, unknown = await other.http.get(f"/jobs/{job_id}"), await other.http.get(f"/jobs/{UNKNOWN}")

        assert foreign.status_code == unknown.status_code == 404
        assert foreign.json()["detail"] == unknown.json()["detail"]

    async def test_shows_all_to_an_administrator(self, maker: SignedIn, sign_in: SignIn) -> None:
        job_id = (await upload(maker))["job_id"]
        admin = await sign_in(Role.ADMIN)

        assert (await admin.http.get(f"/jobs/{job_id}")).status_code == 200


class TestList:
    async def test_filters_and_keeps_to_the_callers_projects(self, maker: SignedIn, other: SignedIn) -> None:
        await upload(maker)
        await upload(other)

        mine = (await maker.http.get("/jobs", params={"kind": "profile", "status": "queued"})).json()

        assert (mine["total"], len(mine["items"])) == (1, 1)
        assert (await maker.http.get("/jobs", params={"kind": "train"})).json()["items"] == []

    @pytest.mark.parametrize(
        "bad", [{"limit": "0"}, {"limit": "201"}, {"sort": "shoe_size"}, {"cursor": "nonsense"}]
    )
    async def test_says_what_is_wrong_with_a_parameter(self, maker: SignedIn, bad: dict[str, str]) -> None:
        answer = await maker.http.get("/jobs", params=bad)

        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == next(iter(bad))

    async def test_finds_the_jobs_of_a_model_or_dataset(self, maker: SignedIn, worker: Worker) -> None:
        model = await trained_model(maker, worker)
        await trained_model(maker, worker)
        dataset_id = (await maker.http.get(f"/models/{model['id']}")).json()["dataset_id"]

        of_model = (await maker.http.get("/jobs", params={"model_id": model["id"]})).json()
        of_dataset = (await maker.http.get("/jobs", params={"dataset_id": dataset_id})).json()

        assert [each["id"] for each in of_model["items"]] == [model["job_id"]]
        assert [each["kind"] for each in of_dataset["items"]] == ["train", "profile"]

    async def test_finds_by_who_when_where_and_why(self, maker: SignedIn, worker: Worker) -> None:
        failed, waiting = (await upload(maker))["job_id"], (await upload(maker))["job_id"]
        await worker.finish(await worker.claim(failed), Outcome.FAILED, error=failure("timeout"))
        second = (await read(maker, waiting))["created_at"]

        async def ids(**params: str) -> list[str]:
            items = (await maker.http.get("/jobs", params=params)).json()["items"]
            return [each["id"] for each in items]

        assert await ids(error_code="timeout") == [failed]
        assert await ids(since=second) == [waiting]
        assert await ids(until=second) == [failed]
        assert len(await ids(created_by=str(maker.id))) == len(await ids(queue="data")) == 2
        assert await ids(created_by=UNKNOWN) == await ids(queue="ml") == []


class TestPriority:
    async def test_may_be_changed_while_a_job_waits(self, maker: SignedIn, worker: Worker) -> None:
        job_id = (await upload(maker))["job_id"]

        changed = await maker.http.patch(f"/jobs/{job_id}", json={"priority": 8})

        assert (changed.status_code, changed.json()["priority"]) == (200, 8)
        await worker.claim(job_id)
        refused = await maker.http.patch(f"/jobs/{job_id}", json={"priority": 1})
        assert (refused.status_code, refused.json()["code"]) == (409, "job_has_begun")

    @pytest.mark.parametrize("priority", [-1, 10, 5.5, "high", True, None])
    async def test_is_a_whole_number_up_to_nine(self, maker: SignedIn, priority: object) -> None:
        job_id = (await upload(maker))["job_id"]

        answer = await maker.http.patch(f"/jobs/{job_id}", json={"priority": priority})

        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "priority")


class TestLimits:
    async def test_of_a_training_are_handed_to_its_worker(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await upload(maker)
        await worker.profile(dataset["job_id"])
        job = {"time_limit_seconds": 90, "memory_limit_bytes": 2**30}
        model = await new_model(maker, dataset_id=dataset["id"], job=job)

        claim = await worker.claim(model["job_id"])

        assert (claim.time_limit_seconds, claim.memory_limit_bytes) == (90, 2**30)

    async def test_are_the_platforms_otherwise(
        self, maker: SignedIn, worker: Worker, settings: Settings
    ) -> None:
        claim = await worker.claim((await upload(maker))["job_id"])

        assert claim.time_limit_seconds == settings.job_time_limit_seconds
        assert claim.memory_limit_bytes == settings.job_memory_limit_bytes

    @pytest.mark.parametrize(
        ("job", "field"),
        [
            ({"time_limit_seconds": 10**6}, "time_limit_seconds"),
            ({"time_limit_seconds": 0}, "time_limit_seconds"),
            ({"time_limit_seconds": "60"}, "time_limit_seconds"),
            ({"memory_limit_bytes": 1000}, "memory_limit_bytes"),
            ({"memory_limit_bytes": 2**63}, "memory_limit_bytes"),
            ({"cores": 2}, "cores"),
        ],
    )
    async def test_are_within_the_platforms(
        self, maker: SignedIn, worker: Worker, job: dict[str, Any], field: str
    ) -> None:
        dataset = await upload(maker)
        body = {"name": "m", "model_type": "regression", "framework": "lightgbm", "dataset_id": dataset["id"]}

        answer = await maker.http.post("/models", json={**body, "job": job})

        assert answer.status_code == 422
        error = answer.json()["errors"][0]
        assert (error["pointer"], error["field"]) == (f"/job/{field}", field)


class TestLogs:
    async def test_are_read_from_where_one_stopped_until_the_end(
        self, maker: SignedIn, worker: Worker
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        claim = await worker.claim(job_id)
        await worker.beat(claim, logs=lines("one", "two", "three"))

        async def page(**params: Any) -> dict[str, Any]:
            found: dict[str, Any] = (await maker.http.get(f"/jobs/{job_id}/logs", params=params)).json()
            return found

        first = await page(limit=2)
        rest = await page(cursor=first["next_cursor"])
        none_yet = await page(cursor=rest["next_cursor"])
        await worker.finish(claim, Outcome.FAILED, error=failure("timeout"), logs=lines("four"))
        last = await page(cursor=none_yet["next_cursor"])

        pages = [first, rest, none_yet, last]
        assert [[line["message"] for line in each["items"]] for each in pages] == [
            ["one", "two"],
            ["three"],
            [],
            ["four"],
        ]
        assert [each["next_cursor"] is None for each in pages] == [False, False, False, True]
        assert first["items"][0]["attempt"] == 1

    async def test_of_a_foreign_job_are_not_found(self, maker: SignedIn, other: SignedIn) -> None:
        assert (await other.http.get(f"/jobs/{(await upload(maker))['job_id']}/logs")).status_code == 404


def lines(*messages: str) -> list[LogLine]:
    return [
        LogLine.model_validate({"at": "2026-01-01T00:00:00Z", "message": message}) for message in messages
    ]


class TestCancel:
    async def test_of_a_foreign_job_is_not_found(self, maker: SignedIn, other: SignedIn) -> None:
        job_id = (await upload(maker))["job_id"]

        assert (await other.http.post(f"/jobs/{job_id}/cancel")).status_code == 404
        assert (await maker.http.get(f"/jobs/{job_id}")).json()["status"] == "queued"


class TestEvents:
    async def test_tell_the_whole_story_and_end(self, maker: SignedIn, worker: Worker) -> None:
        job_id = (await upload(maker))["job_id"]
        claim = await worker.claim(job_id)
        line = LogLine.model_validate({"at": "2026-01-01T00:00:00Z", "message": "hello"})
        await worker.beat(claim, progress=[Progress(percent=50, stage="half")], logs=[line])
        await worker.finish(claim, Outcome.SUCCEEDED, result=profile_result())

        answer = await maker.http.get(f"/jobs/{job_id}/events")

        assert answer.headers["content-type"].startswith("text/event-stream")
        names = [
            text.removeprefix("event: ") for text in answer.text.splitlines() if text.startswith("event: ")
        ]
        assert names == ["state", "state", "progress", "log", "state"]
        assert '"message":"hello"' in answer.text

    async def test_resume_after_the_last_one_seen(self, maker: SignedIn, worker: Worker) -> None:
        job_id = (await upload(maker))["job_id"]
        await worker.profile(job_id)
        whole = (await maker.http.get(f"/jobs/{job_id}/events")).text
        second_id = [text for text in whole.splitlines() if text.startswith("id: ")][1].removeprefix("id: ")

        rest = (await maker.http.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": second_id})).text

        assert whole.endswith(rest)
        assert rest.count("event: ") == whole.count("event: ") - 2

    async def test_of_a_foreign_job_are_not_found(self, maker: SignedIn, other: SignedIn) -> None:
        job_id = (await upload(maker))["job_id"]

        assert (await other.http.get(f"/jobs/{job_id}/events")).status_code == 404

    @pytest.mark.parametrize("number", ["-1", str(2**63), "one"])
    async def test_go_on_after_a_number_that_one_can_have(self, maker: SignedIn, number: str) -> None:
        job_id = (await upload(maker))["job_id"]

        answer = await maker.http.get(f"/jobs/{job_id}/events", headers={"Last-Event-ID": number})

        assert answer.status_code == 422
        assert [each["pointer"] for each in answer.json()["errors"]] == ["header:last-event-id"]

    @pytest.mark.parametrize("end", ["session", "key", "account"])
    async def test_end_with_what_let_them_be_seen(
        self, client: httpx2.AsyncClient, maker: SignedIn, sign_in: SignIn, end: str
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        key = (await maker.http.post("/api-keys", json={"name": "k", "scopes": ["read"]})).json()
        headers = {"X-API-Key": key["secret"]} if end == "key" else maker.http.headers
        following = asyncio.create_task(client.get(f"/jobs/{job_id}/events", headers=headers))
        await asyncio.sleep(0.5)
        assert not following.done()

        match end:
            case "session":
                await maker.http.post("/auth/logout")
            case "key":
                await maker.http.delete(f"/api-keys/{key['id']}")
            case "account":
                await (await sign_in(Role.ADMIN)).http.patch(f"/users/{maker.id}", json={"is_active": False})

        answer = await asyncio.wait_for(following, 2)
        assert (answer.status_code, answer.text.count("event: state")) == (200, 1)
