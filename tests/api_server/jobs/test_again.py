"""Doing an ended job again: a new job, which what the old one was about follows."""

from typing import Any

import pytest

from platform_kit.contract.jobs import Outcome
from tests.api_server.factories import (
    SignedIn,
    Worker,
    failure,
    new_model,
    train_result,
    trained_model,
    upload,
)
from tests.api_server.jobs.steps import read


async def retry(who: SignedIn, job_id: str, **headers: str) -> Any:
    return await who.http.post(f"/jobs/{job_id}/retry", headers=headers)


async def failed_training(who: SignedIn, worker: Worker, **fields: Any) -> tuple[dict[str, Any], str]:
    """A model whose only training failed, and its dataset's id."""
    dataset = await upload(who)
    await worker.profile(dataset["job_id"])
    model = await new_model(who, dataset_id=dataset["id"], **fields)
    claim = await worker.claim(model["job_id"])
    await worker.finish(claim, Outcome.FAILED, error=failure("timeout"))
    return model, dataset["id"]


class TestRetry:
    async def test_trains_the_same_again(self, maker: SignedIn, worker: Worker) -> None:
        options = {"priority": 7, "time_limit_seconds": 60.0, "memory_limit_bytes": 2**30}
        model, dataset_id = await failed_training(maker, worker, job=options)

        answer = await retry(maker, model["job_id"])

        new = answer.json()
        assert answer.status_code == 202
        assert answer.headers["Location"] == f"/api/v1/jobs/{new['id']}"
        assert (new["retry_of"], new["attempt"], new["status"]) == (model["job_id"], 0, "queued")
        assert (new["model_id"], new["dataset_id"]) == (model["id"], dataset_id)
        assert {name: new[name] for name in options} == options
        found = (await maker.http.get(f"/models/{model['id']}")).json()
        assert (found["status"], found["job_id"], found["error"]) == ("training", new["id"], None)

        claim = await worker.claim(new["id"])
        await worker.finish(claim, Outcome.SUCCEEDED, result=train_result())

        assert (await maker.http.get(f"/models/{model['id']}")).json()["version"] == 1
        assert (await read(maker, model["job_id"]))["status"] == "failed"

    async def test_profiles_a_dataset_again(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await upload(maker)
        await maker.http.post(f"/jobs/{dataset['job_id']}/cancel")
        assert (await maker.http.get(f"/datasets/{dataset['id']}")).json()["status"] == "failed"

        new = (await retry(maker, dataset["job_id"])).json()

        assert (await maker.http.get(f"/datasets/{dataset['id']}")).json()["status"] == "pending"
        await worker.profile(new["id"])
        assert (await maker.http.get(f"/datasets/{dataset['id']}")).json()["status"] == "ready"
        # The first one is history: what it was for is well.
        assert (await retry(maker, dataset["job_id"])).json()["code"] == "cannot_be_done_again"

    async def test_waits_for_a_dataset_that_is_profiled_again(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await upload(maker)
        model = await new_model(maker, dataset_id=dataset["id"])
        await maker.http.post(f"/jobs/{dataset['job_id']}/cancel")
        assert (await worker.try_claim(model["job_id"])).status_code == 204
        assert (await read(maker, model["job_id"]))["status"] == "failed"
        refused = await retry(maker, model["job_id"])
        assert (refused.status_code, refused.json()["code"]) == (409, "cannot_be_done_again")

        profile = (await retry(maker, dataset["job_id"])).json()
        new = (await retry(maker, model["job_id"])).json()

        assert (await read(maker, new["id"]))["progress"]["stage"] == "waiting for its dataset"
        await worker.profile(profile["id"])
        assert (await read(maker, new["id"]))["queue_position"] == 1

    async def test_with_one_idempotency_key_makes_one_job(self, maker: SignedIn, worker: Worker) -> None:
        model, _ = await failed_training(maker, worker)

        first, again = [await retry(maker, model["job_id"], **{"Idempotency-Key": "k"}) for _ in range(2)]

        assert first.json() == again.json()

    @pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
    async def test_of_a_job_that_did_not_end_badly_is_refused(
        self, maker: SignedIn, worker: Worker, state: str
    ) -> None:
        job_id = (await upload(maker))["job_id"]
        if state == "running":
            await worker.claim(job_id)
        if state == "succeeded":
            await worker.profile(job_id)

        answer = await retry(maker, job_id)

        assert (answer.status_code, answer.json()["code"]) == (409, "job_is_not_over")
        assert state in answer.json()["detail"]

    async def test_of_what_is_gone_says_so(self, maker: SignedIn, worker: Worker) -> None:
        model, _ = await failed_training(maker, worker)
        assert (await maker.http.delete(f"/models/{model['id']}")).status_code == 204

        answer = await retry(maker, model["job_id"])

        assert (answer.status_code, answer.json()["code"]) == (409, "cannot_be_done_again")
        assert "deleted" in answer.json()["detail"]

    async def test_of_a_foreign_job_is_not_found(self, maker: SignedIn, other: SignedIn) -> None:
        assert (await retry(other, (await upload(maker))["job_id"])).status_code == 404

    async def test_in_an_archived_project_is_refused(self, maker: SignedIn, worker: Worker) -> None:
        project = (await maker.http.post("/projects", json={"name": "old"})).json()
        dataset = await upload(maker, project_id=project["id"])
        await maker.http.post(f"/jobs/{dataset['job_id']}/cancel")
        await maker.http.patch(f"/projects/{project['id']}", json={"status": "archived"})

        assert (await retry(maker, dataset["job_id"])).status_code == 409


class TestDeletingADataset:
    async def test_calls_off_its_waiting_job(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await upload(maker)

        assert (await maker.http.delete(f"/datasets/{dataset['id']}")).status_code == 204

        assert (await read(maker, dataset["job_id"]))["status"] == "cancelled"
        assert (await worker.try_claim(dataset["job_id"])).status_code == 204

    async def test_asks_the_worker_of_a_running_one_to_stop(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await upload(maker)
        claim = await worker.claim(dataset["job_id"])

        assert (await maker.http.delete(f"/datasets/{dataset['id']}")).status_code == 204

        assert (await worker.beat(claim)).cancel_requested is True
        assert await worker.finish(claim, Outcome.CANCELLED) == "cancelled"

    async def test_that_is_refused_calls_nothing_off(self, maker: SignedIn, worker: Worker) -> None:
        dataset_id = (await trained_model(maker, worker))["dataset_id"]
        content = b"age,target\n1,a\n2,b\n"
        files = {"file": ("more.csv", content)}
        version = (await maker.http.post(f"/datasets/{dataset_id}/versions", files=files)).json()

        assert (await maker.http.delete(f"/datasets/{dataset_id}")).status_code == 409

        assert (await read(maker, version["job_id"]))["status"] == "queued"
