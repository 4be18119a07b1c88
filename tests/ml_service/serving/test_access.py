"""Who may ask what, over HTTP, and what the audit log is told of those who may not."""

from typing import Any
from uuid import UUID

import httpx2
import pytest

from ml_service.settings import Settings
from platform_kit.contract.access import Role, Scope
from platform_kit.contract.serving import ModelLookup, ServedVersion
from tests.ml_service.peer import Peer
from tests.ml_service.serving.calling import (
    DEMOS,
    KEY,
    OWNER,
    ROW,
    STRANGER,
    ControlPlane,
    names,
    predict,
    running_service,
    serves,
)
from tests.ml_service.serving.publishing import PROJECT

READ = [(Scope.READ,), (Scope.PREDICT,), (Scope.PREDICT, Scope.READ)]
NEITHER: list[tuple[Scope, ...]] = [(), (Scope.WRITE,), (Scope.DEPLOY, Scope.AUDIT)]
PREDICTIONS = [
    "/predict/churn",
    "/predict/churn/batch",
    "/predict/churn/versions/1",
    "/predict/churn/versions/1/batch",
]
PAGES = ["/models/churn", "/models/churn/openapi.json"]


NO_CREDENTIALS: list[Any] = [
    [("Authorization", "Bearer forged")],
    [("Authorization", "Basic eA==")],
    [("Authorization", "")],
    [("X-API-Key", "")],
    [("X-API-Key", "k" * 5000)],
    [("X-API-Key", "forged"), ("Authorization", "Bearer owner")],
    [("X-API-Key", "key"), ("X-API-Key", "key")],
    [("Authorization", "Bearer owner"), ("Authorization", "Bearer owner")],
    [("Authorization", b"Bearer \xff\xfe")],
]


async def ask(client: httpx2.AsyncClient, path: str, headers: Any) -> httpx2.Response:
    if not path.startswith("/predict"):
        return await client.get(path, headers=headers)
    body = {"inputs": [ROW]} if path.endswith("/batch") else {"input_data": ROW}
    return await client.post(path, json=body, headers=headers)


def idle(peer: Peer) -> None:
    """A model of the owner's that is not deployed."""
    lookup = ModelLookup(
        model_id=UUID(int=5), name="idle", endpoint="idle", project_id=PROJECT, status="trained", version=None
    )
    peer.routes["/serving/models/idle"] = lambda _: (200, lookup)


class TestAccess:
    async def test_demo_models_answer_anybody_and_nothing_else_does(
        self, deployed: httpx2.AsyncClient
    ) -> None:
        answers = {name: await predict(deployed, name) for name in ("demo_model_1", "churn", "nobody-knows")}

        assert [each.status_code for each in answers.values()] == [200, 401, 401]
        assert answers["churn"].headers["WWW-Authenticate"] == "Bearer"
        assert answers["churn"].json()["detail"] == answers["nobody-knows"].json()["detail"]

    async def test_foreign_and_unknown_models_look_the_same(
        self, deployed: httpx2.AsyncClient, churn: ServedVersion
    ) -> None:
        for tail in ("", "/versions/1"):
            foreign = await predict(deployed, "churn", STRANGER, tail)
            unknown = await predict(deployed, "unknown", STRANGER, tail)
            assert foreign.status_code == unknown.status_code == 404
            assert foreign.json()["detail"] == unknown.json()["detail"]
        assert (await predict(deployed, "churn", OWNER)).status_code == 200
        assert (await predict(deployed, str(churn.model_id), OWNER)).status_code == 200

    async def test_lists_hold_what_the_caller_may_see(
        self, deployed: httpx2.AsyncClient, churn: ServedVersion
    ) -> None:
        seen = [await names(deployed, headers) for headers in ({}, STRANGER, OWNER)]

        assert seen == [DEMOS, DEMOS, [*DEMOS, "churn"]]
        assert str(churn.model_id) in (await deployed.get("/stats", headers=OWNER)).json()["models"]
        assert str(churn.model_id) not in (await deployed.get("/stats")).json()["models"]

    async def test_an_administrator_sees_all(
        self, deployed: httpx2.AsyncClient, control: ControlPlane
    ) -> None:
        control.knows_key(role=Role.ADMIN, scopes=None, sees_all=True, project_ids=[])

        assert await names(deployed, KEY) == [*DEMOS, "churn"]
        assert (await predict(deployed, "churn", KEY)).status_code == 200

    async def test_a_credential_that_does_not_hold_is_a_401(self, deployed: httpx2.AsyncClient) -> None:
        for path in ("/predict/churn", "/models/churn", "/models", "/stats"):
            for headers in NO_CREDENTIALS:
                answer = await ask(deployed, path, headers)
                assert (answer.status_code, answer.json()["code"]) == (401, "not_signed_in"), (path, headers)

    async def test_nobody_is_promised_demo_models_where_there_are_none(
        self, settings: Settings, control: ControlPlane
    ) -> None:
        async with running_service(settings.model_copy(update={"demo_models": False})) as client:
            answer = await predict(client, "demo_model_1")

        assert answer.status_code == 401
        assert "demo" not in answer.json()["detail"]

    async def test_not_deployed_is_a_409_that_says_what_to_do(
        self, client: httpx2.AsyncClient, control: ControlPlane, peer: Peer
    ) -> None:
        idle(peer)

        mine, foreign = await predict(client, "idle", OWNER), await predict(client, "idle", STRANGER)

        assert (mine.status_code, mine.json()["code"], foreign.status_code) == (409, "not_deployed", 404)
        assert f"/models/{UUID(int=5)}/deploy" in mine.json()["detail"]


class TestScopes:
    @pytest.mark.parametrize("path", PREDICTIONS)
    async def test_predicting_needs_predict(
        self, deployed: httpx2.AsyncClient, control: ControlPlane, path: str
    ) -> None:
        control.knows_key(scopes=[Scope.PREDICT])
        assert (await ask(deployed, path, KEY)).status_code == 200
        others = [each for each in Scope if each is not Scope.PREDICT]
        control.callers["another"] = control.knows_key(scopes=others)

        refused = await ask(deployed, path, {"X-API-Key": "another"})

        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
        assert refused.json()["detail"] == (
            "This API key is for audit, deploy, read, write; this needs the scope predict."
        )

    @pytest.mark.parametrize("scopes", READ)
    async def test_who_reads_or_predicts_may_know_what_a_model_wants(
        self, deployed: httpx2.AsyncClient, control: ControlPlane, scopes: tuple[Scope, ...]
    ) -> None:
        control.knows_key(scopes=scopes)

        assert [(await ask(deployed, each, KEY)).status_code for each in PAGES] == [200, 200]
        assert await names(deployed, KEY) == [*DEMOS, "churn"]

    @pytest.mark.parametrize("scopes", NEITHER)
    async def test_others_see_the_demo_models(
        self, deployed: httpx2.AsyncClient, control: ControlPlane, scopes: tuple[Scope, ...]
    ) -> None:
        control.knows_key(scopes=scopes)

        refused = [await ask(deployed, each, KEY) for each in PAGES]

        assert {(each.status_code, each.json()["code"]) for each in refused} == {(403, "scope_missing")}
        assert await names(deployed, KEY) == DEMOS
        assert list((await deployed.get("/stats", headers=KEY)).json()["models"]) == DEMOS

    async def test_are_asked_for_before_anything_is_looked_up(
        self, deployed: httpx2.AsyncClient, control: ControlPlane, peer: Peer
    ) -> None:
        control.knows_key(scopes=[Scope.READ])

        refused = [await predict(deployed, each, KEY) for each in ("churn", "unknown")]

        assert [each.status_code for each in refused] == [403, 403]
        assert not [path for path, _ in peer.asked if "/serving/models/" in path]


class TestBoundKeys:
    async def test_are_good_for_their_own_endpoint_only(
        self, deployed: httpx2.AsyncClient, control: ControlPlane, churn: ServedVersion, peer: Peer
    ) -> None:
        second = churn.model_copy(update={"model_id": UUID(int=2), "endpoint": "other", "name": "other"})
        control.change(active=[churn, second])
        await serves(deployed, 1)
        idle(peer)
        control.knows_key(scopes=[Scope.PREDICT], endpoint="churn")

        own = [await predict(deployed, each, KEY) for each in ("churn", str(churn.model_id))]
        foreign = [
            await predict(deployed, each, KEY) for each in ("other", str(second.model_id), "idle", "nothing")
        ]

        assert [each.status_code for each in own] == [200, 200]
        assert {(each.status_code, each.json()["detail"]) for each in foreign} == {
            (404, "There is no such model, or it is not yours to see.")
        }
        assert await names(deployed, KEY) == [*DEMOS, "churn"]

    async def test_of_an_administrator_see_their_own_project_only(
        self, deployed: httpx2.AsyncClient, control: ControlPlane
    ) -> None:
        control.knows_key(role=Role.ADMIN, scopes=[Scope.PREDICT], sees_all=False, project_ids=[UUID(int=99)])

        assert (await predict(deployed, "churn", KEY)).status_code == 404
        assert await names(deployed, KEY) == DEMOS


class TestLimits:
    async def test_count_the_caller_whatever_the_credential(
        self, settings: Settings, control: ControlPlane, cached_demos: None, churn: ServedVersion
    ) -> None:
        control.change(active=[churn])
        limit = {"predict_rate_limit_principal": "5/hour"}
        async with running_service(settings.model_copy(update=limit)) as client:
            answers = [await predict(client, "unknown", STRANGER) for _ in range(6)]

            assert [each.status_code for each in answers] == [404] * 5 + [429]
            assert int(answers[-1].headers["Retry-After"]) > 0
            assert (await predict(client, "unknown", OWNER)).status_code == 404

    async def test_stop_an_address_that_tries_one_credential_after_the_other(
        self, settings: Settings, control: ControlPlane, cached_demos: None, peer: Peer
    ) -> None:
        limit = {"introspection_limit_address": "5/hour"}
        async with running_service(settings.model_copy(update=limit)) as client:
            await predict(client, "unknown", OWNER)
            tried = [await predict(client, "unknown", {"X-API-Key": f"guess-{n}"}) for n in range(8)]

            assert [each.status_code for each in tried] == [401] * 4 + [429] * 4
            assert peer.count("/introspect") == 5
            assert (await predict(client, "unknown", OWNER)).status_code == 404
