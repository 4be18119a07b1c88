"""How a deployment answers is part of what is deployed: kept, shown, served, proved, rolled back."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from api_server.auth.permissions import Action
from platform_kit.contract.serving import ModelLookup
from tests.api_server.deployments.test_deploying import deploy, second_version
from tests.api_server.factories import FakeReplica, SignedIn, Worker, new_model, trained_model, upload

LOW = {"threshold": 0.3, "fields": {"age": {"on_missing": "impute"}}}
ALL = {
    **LOW,
    "positive_class": "no",
    "labels": {"yes": 1, "no": False},
    "abstain_below": 0.6,
    "abstain_answer": "unsure",
    "decimals": 3,
    "output_name": "churns",
    "on_unknown_field": "warn",
    "pinned": True,
}
DEFAULTS = {"labels": {}, "fields": {}, "on_unknown_field": "reject", "pinned": False, "threshold": None}


@pytest.fixture
async def model(maker: SignedIn, worker: Worker) -> dict[str, Any]:
    return await trained_model(maker, worker, name="churn")


async def roll_back(who: SignedIn, replica: FakeReplica) -> httpx2.Response:
    asked = asyncio.create_task(who.http.post("/endpoints/churn/rollback"))
    while not asked.done():
        await replica.prove_all()
        await asyncio.sleep(0.02)
    return await asked


async def history(who: SignedIn) -> list[tuple[int, Any, str]]:
    """The newest first."""
    listed = (await who.http.get("/deployments")).json()["items"]
    return [(each["version"], each["config"], each["status"]) for each in listed]


class TestDeploy:
    async def test_shows_and_serves_the_options_that_were_given(
        self, maker: SignedIn, replica: FakeReplica, model: dict[str, Any]
    ) -> None:
        wish = (await deploy(maker, replica, model, config=ALL)).json()["deployment_id"]

        assert (await maker.http.get(f"/deployments/{wish}")).json()["config"] == ALL
        assert (await maker.http.get("/endpoints/churn")).json()["config"] == ALL
        assert (await maker.http.get("/endpoints")).json()["items"][0]["config"] == ALL
        assert [each.config for each in replica.state.active or []] == [ALL]

    async def test_has_replicas_prove_a_candidate_with_its_options(
        self, maker: SignedIn, replica: FakeReplica, model: dict[str, Any]
    ) -> None:
        await maker.http.post(f"/models/{model['id']}/deploy", json={"config": LOW})

        assert [each.config for each in (await replica.sync()).candidates or []] == [LOW]

    async def test_keeps_nothing_of_defaults(
        self, maker: SignedIn, replica: FakeReplica, model: dict[str, Any]
    ) -> None:
        first = (await deploy(maker, replica, model)).json()

        again = (await deploy(maker, replica, model, config=DEFAULTS)).json()

        assert again["deployment_id"] == first["deployment_id"]
        assert (await maker.http.get("/endpoints/churn")).json()["config"] == {}

    async def test_of_the_same_version_with_other_options_is_another_deployment(
        self, maker: SignedIn, replica: FakeReplica, model: dict[str, Any]
    ) -> None:
        first, second, same = [
            (await deploy(maker, replica, model, config=each)).json()["deployment_id"]
            for each in ({}, LOW, dict(reversed(LOW.items())))
        ]

        assert first != second == same
        assert await history(maker) == [(1, LOW, "deployed"), (1, {}, "superseded")]
        found = (await maker.http.get(f"/deployments/{first}")).json()
        assert found["reason"] == "version 1 was deployed with other options"

    async def test_tells_classes_apart_that_python_holds_for_equal(
        self, maker: SignedIn, replica: FakeReplica, model: dict[str, Any]
    ) -> None:
        wishes = [
            (await deploy(maker, replica, model, config={"labels": {"yes": each}})).json()["deployment_id"]
            for each in (1, True, 1)
        ]

        assert len(set(wishes)) == 3

    async def test_of_what_is_served_calls_off_what_was_coming(
        self, maker: SignedIn, replica: FakeReplica, model: dict[str, Any]
    ) -> None:
        served = (await deploy(maker, replica, model)).json()["deployment_id"]
        await maker.http.post(f"/models/{model['id']}/deploy", json={"config": LOW})

        again = await maker.http.post(f"/models/{model['id']}/deploy", json={})
        await replica.prove_all()

        assert again.json()["deployment_id"] == served
        assert await history(maker) == [(1, LOW, "superseded"), (1, {}, "deployed")]

    async def test_is_written_down_with_its_options(
        self, maker: SignedIn, replica: FakeReplica, model: dict[str, Any]
    ) -> None:
        await deploy(maker, replica, model, config=LOW)

        listed = await maker.http.get(f"/projects/{model['project_id']}/activity")

        told = [
            each["details"] for each in listed.json()["items"] if each["action"] == Action.DEPLOYMENT_DEPLOY
        ]
        assert told == [{"endpoint": "churn", "version": 1, "config": LOW}]

    async def test_during_a_training_keeps_options_until_it_is_trained(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        dataset = await upload(maker)
        await worker.profile(dataset["job_id"])
        coming = await new_model(maker, dataset_id=dataset["id"])
        await maker.http.post(f"/models/{coming['id']}/deploy", json={"config": LOW})

        await worker.train(coming["job_id"])
        await replica.prove_all()

        assert await history(maker) == [(1, LOW, "deployed")]


class TestRefusals:
    @pytest.mark.parametrize(
        ("config", "issues"),
        [
            ({"positive_class": "maybe", "threshold": 0.5}, [("/config/positive_class", "unknown_value")]),
            ({"positive_class": "yes"}, [("/config/threshold", "missing_field")]),
            ({"labels": {"maybe": 1}}, [("/config/labels/maybe", "unknown_value")]),
            ({"fields": {"income": {"on_missing": "impute"}}}, [("/config/fields/income", "unknown_field")]),
            (
                {"fields": {"age": {"on_unknown_category": "warn"}}, "abstain_answer": "?"},
                [
                    ("/config/fields/age/on_unknown_category", "unknown_value"),
                    ("/config/abstain_below", "missing_field"),
                ],
            ),
        ],
    )
    async def test_name_what_makes_no_sense_for_the_version(
        self,
        maker: SignedIn,
        replica: FakeReplica,
        model: dict[str, Any],
        config: dict[str, Any],
        issues: list[tuple[str, str]],
    ) -> None:
        generation = (await replica.sync(), replica.applied)[1]

        answer = await maker.http.post(f"/models/{model['id']}/deploy", json={"config": config})

        assert (answer.status_code, answer.json()["code"]) == (422, "options_do_not_fit")
        assert [(each["pointer"], each["code"]) for each in answer.json()["errors"]] == issues
        assert await history(maker) == []
        assert (await replica.sync(), replica.applied)[1] == generation

    @pytest.mark.parametrize(
        ("config", "pointer"),
        [
            ('{"threshold": "0.3"}', "/config/threshold"),
            ('{"threshold": true}', "/config/threshold"),
            ('{"threshold": 1}', "/config/threshold"),
            ('{"threshold": NaN}', "/config/threshold"),
            ('{"abstain_below": 1e400}', "/config/abstain_below"),
            ('{"abstain_answer": NaN}', "/config/abstain_answer"),
            ('{"decimals": 1.5}', "/config/decimals"),
            ('{"decimals": "1"}', "/config/decimals"),
            ('{"decimals": 13}', "/config/decimals"),
            ('{"pinned": 1}', "/config/pinned"),
            ('{"output_name": ""}', "/config/output_name"),
            ('{"on_unknown_field": "impute"}', "/config/on_unknown_field"),
            ('{"fields": {"age": {"on_missing": "drop"}}}', "/config/fields/age/on_missing"),
            ('{"fields": {"age": {"on_nothing": "warn"}}}', "/config/fields/age/on_nothing"),
            ('{"magic": 1}', "/config/magic"),
            ("null", "/config"),
        ],
    )
    async def test_take_nothing_for_something_else(
        self, maker: SignedIn, model: dict[str, Any], config: str, pointer: str
    ) -> None:
        answer = await maker.http.post(
            f"/models/{model['id']}/deploy",
            content=f'{{"config": {config}}}',
            headers={"Content-Type": "application/json"},
        )

        assert answer.status_code == 422, answer.text
        assert pointer in [each["pointer"] for each in answer.json()["errors"]], json.dumps(answer.json())


class TestRollBack:
    async def test_goes_back_to_the_options_before(
        self, maker: SignedIn, replica: FakeReplica, model: dict[str, Any]
    ) -> None:
        await deploy(maker, replica, model, config=LOW)
        await deploy(maker, replica, model, config={"decimals": 2})

        answer = await roll_back(maker, replica)

        assert (answer.status_code, answer.json()["version"]) == (200, 1)
        assert await history(maker) == [
            (1, LOW, "deployed"),
            (1, {"decimals": 2}, "rolled_back"),
            (1, LOW, "superseded"),
        ]
        assert [each.config for each in replica.state.active or []] == [LOW]

    async def test_goes_back_to_a_version_with_its_options(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica, model: dict[str, Any]
    ) -> None:
        await deploy(maker, replica, model, config=LOW)
        await second_version(maker, worker, model)
        await deploy(maker, replica, model)

        await roll_back(maker, replica)

        assert (await history(maker))[0] == (1, LOW, "deployed")

    async def test_knows_nothing_before_the_first(
        self, maker: SignedIn, replica: FakeReplica, model: dict[str, Any]
    ) -> None:
        await deploy(maker, replica, model, config=LOW)

        answer = await maker.http.post("/endpoints/churn/rollback")

        assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_roll_back_to")


class TestLookUp:
    async def test_of_a_version_has_the_options_of_its_deployment_alone(
        self,
        maker: SignedIn,
        worker: Worker,
        replica: FakeReplica,
        internal: httpx2.AsyncClient,
        model: dict[str, Any],
    ) -> None:
        await deploy(maker, replica, model, config=ALL)
        await second_version(maker, worker, model)
        await deploy(maker, replica, model, config=LOW)

        pinned = [
            ModelLookup.model_validate_json(
                (await internal.get("/serving/models/churn", params={"version": number})).content
            ).version
            for number in (1, 2)
        ]

        assert [each.config if each else None for each in pinned] == [{}, LOW]
