import asyncio

import httpx2
import pytest

from platform_kit.contract.access import Role
from platform_kit.contract.jobs import LogLine, Outcome, Progress
from tests.api_server.conftest import SignIn
from tests.api_server.factories import SignedIn, Worker, profile_result, upload

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
