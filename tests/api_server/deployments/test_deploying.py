"""A wish is written down, a replica proves it, and only then the endpoint moves."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from api_server.settings import Settings
from platform_kit.contract.access import Role
from platform_kit.contract.jobs import Outcome
from platform_kit.contract.serving import Proof
from tests.api_server.conftest import SignIn
from tests.api_server.factories import (
    FakeReplica,
    SignedIn,
    Worker,
    failure,
    new_model,
    trained_model,
    upload,
)


@pytest.fixture
def patient(running: tuple[Any, dict[str, Any]], settings: Settings) -> Iterator[None]:
    """Who deploys waits for as long as it takes."""
    with pytest.MonkeyPatch.context() as patch:
        changed = settings.model_copy(update={"deploy_wait_seconds": 60})
        patch.setitem(running[0]._state, "settings", changed)
        yield


async def deploy(
    who: SignedIn, replica: FakeReplica, model: dict[str, Any], *, holds: bool = True, **body: Any
) -> httpx2.Response:
    """Deploy while a replica goes on polling, as it does in life."""
    asked = asyncio.create_task(who.http.post(f"/models/{model['id']}/deploy", json=body))
    while not asked.done():
        await replica.prove_all(
            holds=holds, reason=None if holds else "golden row 3: prediction is 'no', not 'yes'"
        )
        await asyncio.sleep(0.02)
    return await asked


async def second_version(who: SignedIn, worker: Worker, model: dict[str, Any]) -> None:
    job = (await who.http.post(f"/models/{model['id']}/train", json={})).json()
    await worker.train(job["id"])


class TestDeploy:
    async def test_answers_once_the_replicas_serve_it(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        model = await trained_model(maker, worker, name="churn")

        answer = await deploy(maker, replica, model)

        body = answer.json()
        assert (answer.status_code, body["status"], body["version"], body["endpoint"]) == (
            200,
            "deployed",
            1,
            "churn",
        )
        assert body["url"].endswith("/predict/churn")
        assert [(each.endpoint, each.version) for each in replica.state.active or []] == [("churn", 1)]
        found = (await maker.http.get(f"/models/{model['id']}")).json()
        assert (found["status"], found["is_deployed"], found["deployed_version"]) == ("deployed", True, 1)

    @pytest.mark.usefixtures("patient")
    async def test_waits_for_every_live_replica(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        model = await trained_model(maker, worker)
        slow = FakeReplica(replica._internal, "replica-2")
        await slow.sync()

        asked = asyncio.create_task(maker.http.post(f"/models/{model['id']}/deploy", json={}))
        await asyncio.sleep(0.2)
        await replica.prove_all()
        await asyncio.sleep(0.3)
        assert not asked.done()
        await slow.sync()
        await slow.sync()

        assert (await asked).json()["status"] == "deployed"

    async def test_is_refused_with_the_reason_and_nothing_moves(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        model = await trained_model(maker, worker)
        await deploy(maker, replica, model)
        await second_version(maker, worker, model)

        answer = await deploy(maker, replica, model, holds=False)

        assert (answer.status_code, answer.json()["code"]) == (409, "deployment_refused")
        assert "golden row 3" in answer.json()["detail"]
        assert [each.version for each in replica.state.active or []] == [1]
        history = (await maker.http.get("/deployments", params={"model_id": model["id"]})).json()["items"]
        assert [(each["version"], each["status"]) for each in history] == [(2, "failed"), (1, "deployed")]

    async def test_replaces_the_version_before(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        model = await trained_model(maker, worker)
        await deploy(maker, replica, model)
        await second_version(maker, worker, model)

        assert (await deploy(maker, replica, model)).json()["version"] == 2

        assert [each.version for each in replica.state.active or []] == [2]
        history = (await maker.http.get("/deployments", params={"model_id": model["id"]})).json()["items"]
        assert [each["status"] for each in history] == ["deployed", "superseded"]
        assert history[1]["ended_at"] is not None

    async def test_of_what_is_served_already_changes_nothing(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        model = await trained_model(maker, worker)
        first = (await deploy(maker, replica, model)).json()

        again = (await deploy(maker, replica, model)).json()

        assert again["deployment_id"] == first["deployment_id"]

    @pytest.mark.parametrize("version", [True, "1", 0, 2**31])
    async def test_of_no_number_of_a_version_is_refused(self, maker: SignedIn, version: object) -> None:
        model = await new_model(maker)

        answer = await maker.http.post(f"/models/{model['id']}/deploy", json={"version": version})

        assert answer.status_code == 422
        assert [each["pointer"] for each in answer.json()["errors"]] == ["/version"]

    async def test_without_a_replica_is_still_coming_after_the_patience(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        model = await trained_model(maker, worker)

        answer = await maker.http.post(f"/models/{model['id']}/deploy")

        assert (answer.status_code, answer.json()["status"]) == (200, "deploying")
        await replica.prove_all()
        found = (await maker.http.get(f"/deployments/{answer.json()['deployment_id']}")).json()
        assert found["status"] == "deployed"

    async def test_during_a_training_happens_when_it_is_trained(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        dataset = await upload(maker)
        await worker.profile(dataset["job_id"])
        model = await new_model(maker, dataset_id=dataset["id"])
        early = (await maker.http.post(f"/models/{model['id']}/deploy")).json()
        assert (early["status"], early["version"]) == ("deploying", None)

        await worker.train(model["job_id"])
        await replica.prove_all()

        found = (await maker.http.get(f"/deployments/{early['deployment_id']}")).json()
        assert (found["status"], found["version"]) == ("deployed", 1)

    async def test_during_a_training_fails_with_it(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        dataset = await upload(maker)
        await worker.profile(dataset["job_id"])
        model = await new_model(maker, dataset_id=dataset["id"])
        early = (await maker.http.post(f"/models/{model['id']}/deploy")).json()

        claim = await worker.claim(model["job_id"])
        await worker.finish(claim, Outcome.FAILED, error=failure("fit_failed", status=422))
        await replica.sync()

        found = (await maker.http.get(f"/deployments/{early['deployment_id']}")).json()
        assert (found["status"], "ended failed" in found["reason"]) == ("failed", True)

    async def test_before_any_training_says_what_to_do(self, maker: SignedIn) -> None:
        model = await new_model(maker)

        answer = await maker.http.post(f"/models/{model['id']}/deploy", json={})

        assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_deploy")

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"version": 9}, 404),
            ({"version": 0}, 422),
            ({"config": {"magic": 1}}, 422),
            ({"versoin": 1}, 422),
        ],
    )
    async def test_refuses_what_it_cannot_do(
        self, maker: SignedIn, worker: Worker, body: dict[str, Any], status: int
    ) -> None:
        model = await trained_model(maker, worker)

        assert (await maker.http.post(f"/models/{model['id']}/deploy", json=body)).status_code == status

    async def test_keeps_to_who_may(
        self, maker: SignedIn, other: SignedIn, sign_in: SignIn, client: httpx2.AsyncClient, worker: Worker
    ) -> None:
        model = await trained_model(maker, worker)
        reader = await sign_in(Role.USER)
        url = f"/models/{model['id']}/deploy"

        answers = [(await each.post(url)).status_code for each in (client, reader.http, other.http)]

        assert answers == [401, 403, 404]

    async def test_wishes_that_follow_each_other_leave_the_last(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        model = await trained_model(maker, worker)
        await second_version(maker, worker, model)
        url = f"/models/{model['id']}/deploy"

        await asyncio.gather(*(maker.http.post(url, json={"version": 1 + n % 2}) for n in range(4)))
        await replica.prove_all()

        history = (await maker.http.get("/deployments", params={"model_id": model["id"]})).json()["items"]
        assert sorted(each["status"] for each in history) == ["deployed"] + ["superseded"] * 3


class TestProof:
    async def test_of_a_replica_whose_storage_is_away_decides_nothing(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        model = await trained_model(maker, worker)
        wish = (await maker.http.post(f"/models/{model['id']}/deploy")).json()["deployment_id"]

        await replica.sync(Proof(deployment_id=wish, holds=False, reason="away", is_transient=True))

        assert (await maker.http.get(f"/deployments/{wish}")).json()["status"] == "deploying"

    async def test_by_two_replicas_counts_once(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        model = await trained_model(maker, worker)
        wish = (await maker.http.post(f"/models/{model['id']}/deploy")).json()["deployment_id"]
        others = [FakeReplica(replica._internal, f"r{n}") for n in range(4)]

        await asyncio.gather(*(each.sync(Proof(deployment_id=wish, holds=True)) for each in others))

        history = (await maker.http.get("/deployments")).json()["items"]
        assert [each["status"] for each in history] == ["deployed"]


class TestEndpoints:
    async def test_remember_what_served_when(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        model = await trained_model(maker, worker, name="churn")
        before = datetime.now(UTC).isoformat()
        await deploy(maker, replica, model)
        during = datetime.now(UTC).isoformat()
        await second_version(maker, worker, model)
        await deploy(maker, replica, model)
        after = datetime.now(UTC).isoformat()

        served = [
            (await maker.http.get("/endpoints/churn/served", params={"at": moment})).json()
            for moment in (before, during, after)
        ]

        assert served[0] is None
        assert [each["version"] for each in served[1:]] == [1, 2]

    @pytest.mark.parametrize("moment", ["0", "0.5", "2026-11-01T12:00:00", "9999-12-31T23:59:59-14:00"])
    async def test_are_asked_about_a_moment(self, maker: SignedIn, moment: str) -> None:
        answer = await maker.http.get("/endpoints/churn/served", params={"at": moment})

        assert answer.status_code == 422
        assert [each["pointer"] for each in answer.json()["errors"]] == ["query:at"]

    async def test_roll_back_to_the_version_before(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        model = await trained_model(maker, worker, name="churn")
        await deploy(maker, replica, model)
        nothing = await maker.http.post("/endpoints/churn/rollback")
        await second_version(maker, worker, model)
        await deploy(maker, replica, model)

        asked = asyncio.create_task(maker.http.post("/endpoints/churn/rollback"))
        while not asked.done():
            await replica.prove_all()
            await asyncio.sleep(0.02)

        assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_roll_back_to")
        assert (await asked).json()["version"] == 1
        history = (await maker.http.get("/deployments", params={"model_id": model["id"]})).json()["items"]
        assert [(each["version"], each["status"]) for each in history] == [
            (1, "deployed"),
            (2, "rolled_back"),
            (1, "superseded"),
        ]

    async def test_retire_and_stay_known(self, maker: SignedIn, worker: Worker, replica: FakeReplica) -> None:
        model = await trained_model(maker, worker, name="churn")
        await deploy(maker, replica, model)
        in_use = await maker.http.delete(f"/models/{model['id']}")

        assert (await maker.http.delete("/endpoints/churn")).status_code == 204

        assert in_use.json()["code"] == "model_in_use"
        assert (await replica.sync()).active == []
        assert (await maker.http.get("/endpoints/churn")).json()["version"] is None
        assert (await maker.http.get(f"/models/{model['id']}")).json()["status"] == "trained"

    async def test_of_others_are_not_found(
        self,
        maker: SignedIn,
        other: SignedIn,
        client: httpx2.AsyncClient,
        worker: Worker,
        replica: FakeReplica,
    ) -> None:
        model = await trained_model(maker, worker, name="churn")
        wish = (await deploy(maker, replica, model)).json()["deployment_id"]

        for url in (
            "/endpoints/churn",
            f"/deployments/{wish}",
            "/endpoints/churn/served?at=2026-01-01T00:00:00Z",
        ):
            assert (await other.http.get(url)).status_code == 404
            assert (await client.get(url)).status_code == 401
        assert (await other.http.get("/endpoints")).json()["items"] == []
        assert (await maker.http.get("/endpoints")).json()["items"][0]["name"] == "churn"
