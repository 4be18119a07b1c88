"""Operators and the models in memory: who may, what happens, and what is told of it."""

from typing import Any

import httpx2
import pytest

from ml_service.settings import Settings
from platform_kit.contract.access import Role, Scope
from platform_kit.contract.serving import ServedVersion
from platform_kit.plumbing.object_store import ObjectStore
from tests.ml_service.serving.calling import (
    KEY,
    OWNER,
    STRANGER,
    ControlPlane,
    models,
    predict,
    principal,
    serves,
    until,
)
from tests.ml_service.serving.publishing import PROJECT

ADMIN = {"Authorization": "Bearer admin"}
DEEDS = ["unload", "reload"]


@pytest.fixture
def admin(control: ControlPlane) -> None:
    control.callers["admin"] = principal(username="admin", role=Role.ADMIN, sees_all=True)


async def do(client: httpx2.AsyncClient, deed: str, model: str, headers: Any = ADMIN) -> httpx2.Response:
    return await client.post(f"/models/{model}/{deed}", headers=headers)


async def churn_of(client: httpx2.AsyncClient) -> dict[str, Any]:
    return next(each for each in await models(client) if each["name"] == "churn")


@pytest.mark.usefixtures("admin")
class TestUnload:
    async def test_takes_a_model_out_of_memory_until_somebody_asks_it(
        self, deployed: httpx2.AsyncClient, churn: ServedVersion
    ) -> None:
        before = await churn_of(deployed)

        answer = await do(deployed, "unload", "churn")

        after = await churn_of(deployed)
        asked = await predict(deployed, "churn", OWNER)
        assert (before["is_loaded"], after["is_loaded"]) == (True, False)
        assert (asked.status_code, (await churn_of(deployed))["is_loaded"]) == (200, True)
        body = answer.json()
        assert body.pop("replica")
        assert body == {
            "model_id": str(churn.model_id),
            "version": 1,
            "is_loaded": False,
            "memory_bytes": 0,
            "load_milliseconds": None,
        }

    async def test_of_what_is_not_there_changes_nothing(self, deployed: httpx2.AsyncClient) -> None:
        first, second = [await do(deployed, "unload", "churn") for _ in range(2)]

        assert (first.status_code, second.status_code) == (200, 200)
        assert first.json() == second.json()

    async def test_takes_a_pinned_one_too(
        self, client: httpx2.AsyncClient, control: ControlPlane, churn: ServedVersion
    ) -> None:
        control.change(active=[churn.model_copy(update={"config": {"pinned": True}})])
        await serves(client, 1)
        assert (await churn_of(client))["is_pinned"]

        await do(client, "unload", "churn")

        assert (await churn_of(client))["is_loaded"] is False


@pytest.mark.usefixtures("admin")
class TestReload:
    async def test_loads_from_storage_what_the_disk_may_have_lost(
        self, deployed: httpx2.AsyncClient, churn: ServedVersion, settings: Settings
    ) -> None:
        folder = settings.ml_cache_dir / "versions" / churn.manifest.sha256
        (folder / "manifest.json").write_bytes(b"{}")

        answer = (await do(deployed, "reload", "churn")).json()

        listed = await churn_of(deployed)
        assert answer["is_loaded"] is True
        assert (answer["memory_bytes"], answer["load_milliseconds"]) == (
            listed["memory_bytes"],
            listed["load_milliseconds"],
        )
        assert (folder / "manifest.json").read_bytes() != b"{}"

    async def test_keeps_what_is_in_memory_when_storage_has_other_bytes(
        self, deployed: httpx2.AsyncClient, churn: ServedVersion, store: ObjectStore
    ) -> None:
        store.put_bytes(churn.manifest.key, b"{}")

        answer = await do(deployed, "reload", "churn")

        assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")
        assert (await predict(deployed, "churn", OWNER)).status_code == 200


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.usefixtures("admin")
class TestWhoMay:
    async def test_an_administrator_by_session_or_by_a_key_to_deploy(
        self, deployed: httpx2.AsyncClient, control: ControlPlane, deed: str
    ) -> None:
        control.knows_key(role=Role.ADMIN, scopes=[Scope.DEPLOY])

        assert (await do(deployed, deed, "churn")).status_code == 200
        assert (await do(deployed, deed, "churn", KEY)).status_code == 200

    async def test_nobody_by_a_key_for_something_else(
        self, deployed: httpx2.AsyncClient, control: ControlPlane, deed: str
    ) -> None:
        control.knows_key(role=Role.ADMIN, scopes=[Scope.PREDICT, Scope.READ, Scope.WRITE])

        answer = await do(deployed, deed, "churn", KEY)

        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")

    async def test_no_other_role_whatever_it_is_in_the_project(
        self, deployed: httpx2.AsyncClient, control: ControlPlane, deed: str
    ) -> None:
        control.callers["maker"] = principal(role=Role.DATA_SCIENTIST, project_ids=[PROJECT])

        for headers in (OWNER, {"Authorization": "Bearer maker"}):
            answer = await do(deployed, deed, "churn", headers)

            assert (answer.status_code, answer.json()["code"]) == (403, "role_missing")
        assert (await churn_of(deployed))["is_loaded"]

    async def test_who_cannot_see_a_model_is_not_told_that_there_is_one(
        self, deployed: httpx2.AsyncClient, deed: str
    ) -> None:
        foreign, unknown = [await do(deployed, deed, name, STRANGER) for name in ("churn", "nobody-knows")]

        assert (foreign.status_code, unknown.status_code) == (404, 404)
        assert foreign.json()["detail"] == unknown.json()["detail"]
        assert (await do(deployed, deed, "churn", {})).status_code == 401

    async def test_the_demo_models_stay(self, deployed: httpx2.AsyncClient, deed: str) -> None:
        answers = [await do(deployed, deed, "demo_model_1", headers) for headers in ({}, STRANGER, ADMIN)]

        assert [each.status_code for each in answers] == [401, 403, 409]
        assert "part of every process" in answers[2].json()["detail"]

    async def test_is_refused_with_a_note_for_the_audit_log(
        self, deployed: httpx2.AsyncClient, control: ControlPlane, deed: str
    ) -> None:
        await do(deployed, deed, "churn", OWNER)

        await until(lambda: bool(control.refusals))
        (told,) = control.refusals
        assert (told["action"], told["status"], told["object_id"]) == ("model:operate", 403, "churn")


class TestModel:
    async def test_shows_its_options_its_contract_as_applied_and_what_it_takes(
        self, client: httpx2.AsyncClient, control: ControlPlane, churn: ServedVersion
    ) -> None:
        config = {"threshold": 0.3, "pinned": True, "fields": {"feature1": {"on_missing": "impute"}}}
        control.change(active=[churn.model_copy(update={"config": config})])
        await serves(client, 1)

        found = (await client.get("/models/churn", headers=OWNER)).json()

        assert found["options"] == config
        assert [each["on_missing"] for each in found["contract"]["fields"]] == ["impute", *["reject"] * 3]
        assert (found["is_loaded"], found["is_pinned"]) == (True, True)
        assert found["memory_bytes"] > 0
        assert found["load_milliseconds"] > 0
