"""Whom the service refused, as the audit log is told of it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx2
import pytest
from prometheus_client import REGISTRY

from ml_service.serving import refusals
from ml_service.settings import Settings
from platform_kit.contract.access import Scope
from tests.ml_service.peer import Peer
from tests.ml_service.serving.calling import (
    KEY,
    OWNER,
    STRANGER,
    ControlPlane,
    predict,
    running_service,
    until,
)

FORGED = {"X-API-Key": "forged"}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "SEND_SECONDS", 0.05)


def dropped() -> float:
    return REGISTRY.get_sample_value("mlp_access_refusals_dropped_total") or 0


class TestNoting:
    async def test_names_who_asked_for_what_and_from_where(
        self, deployed: httpx2.AsyncClient, control: ControlPlane
    ) -> None:
        answer = await predict(deployed, "churn", STRANGER)
        await until(lambda: bool(control.refusals))

        [told] = control.refusals
        who = control.callers["stranger"]
        at = datetime.fromisoformat(told.pop("at"))
        assert abs(datetime.now(UTC) - at) < timedelta(seconds=5)
        assert told == {
            "action": "prediction:make",
            "status": 404,
            "code": "model_not_found",
            "object_id": "churn",
            "user_id": str(who.user_id),
            "username": "stranger",
            "credential": f"session:{who.credential_id}",
            "address": "127.0.0.1",
            "request_id": answer.headers["X-Request-ID"],
        }

    async def test_tells_of_each_kind_and_of_nothing_secret(
        self, deployed: httpx2.AsyncClient, control: ControlPlane
    ) -> None:
        key = control.knows_key(scopes=[Scope.READ])
        await predict(deployed, "churn", FORGED)
        await deployed.get("/models", headers=FORGED)
        await predict(deployed, "churn", KEY)
        await deployed.get("/models/unknown", headers=KEY)
        await predict(deployed, "churn", OWNER, "/versions/99")
        await until(lambda: len(control.refusals) >= 5)

        told = [
            (each["action"], each["status"], each["code"], each["object_id"], each["credential"])
            for each in control.refusals
        ]
        assert told == [
            ("prediction:make", 401, "not_signed_in", "churn", None),
            ("model:read", 401, "not_signed_in", None, None),
            ("prediction:make", 403, "scope_missing", "churn", f"key:{key.credential_id}"),
            ("model:read", 404, "model_not_found", "unknown", f"key:{key.credential_id}"),
            (
                "prediction:make",
                404,
                "model_not_found",
                "churn",
                f"session:{control.callers['owner'].credential_id}",
            ),
        ]
        assert "forged" not in json.dumps(control.refusals)

    async def test_tells_of_no_demo_model_and_of_nobody_without_a_credential(
        self, deployed: httpx2.AsyncClient, control: ControlPlane
    ) -> None:
        await predict(deployed, "churn")
        await predict(deployed, "demo_model_1", STRANGER, "/versions/99")
        await predict(deployed, "demo_model_1", FORGED)
        await predict(deployed, "churn", OWNER)
        await asyncio.sleep(0.3)

        assert control.refusals == []

    async def test_cuts_what_is_long_and_leaves_out_what_cannot_be_stored(
        self, deployed: httpx2.AsyncClient, control: ControlPlane
    ) -> None:
        await predict(deployed, "x" * 500, STRANGER)
        await until(lambda: bool(control.refusals))

        assert control.refusals[0]["object_id"] == "x" * 200
        assert refusals._storable("a\0b\ud800") == "ab?"


class TestSend:
    async def test_waits_while_api_server_is_away(
        self, deployed: httpx2.AsyncClient, control: ControlPlane, peer: Peer
    ) -> None:
        refuse, peer.routes["/refusals"] = peer.routes["/refusals"], lambda _: (503, {})
        await predict(deployed, "churn", STRANGER)
        await asyncio.sleep(0.3)

        peer.routes["/refusals"] = refuse

        await until(lambda: bool(control.refusals))
        await asyncio.sleep(0.2)
        assert len(control.refusals) == 1

    @pytest.mark.alone
    async def test_delays_no_answer(
        self, deployed: httpx2.AsyncClient, control: ControlPlane, peer: Peer
    ) -> None:
        await predict(deployed, "churn", STRANGER)
        peer.delay_seconds = 0.2
        await asyncio.sleep(0.1)
        loop = asyncio.get_running_loop()
        started = loop.time()

        answers = [await predict(deployed, "churn", STRANGER) for _ in range(5)]

        assert loop.time() - started < 0.2
        assert {each.status_code for each in answers} == {404}

    async def test_has_room_for_others_when_one_asks_without_end(
        self, deployed: httpx2.AsyncClient, control: ControlPlane, peer: Peer
    ) -> None:
        refuse, peer.routes["/refusals"] = peer.routes["/refusals"], lambda _: (503, {})
        before = dropped()
        for _ in range(refusals.MOST_WAITING_OF_ONE + 20):
            await predict(deployed, "churn", STRANGER)
        await predict(deployed, "churn", FORGED)

        peer.routes["/refusals"] = refuse
        await until(lambda: any(each["status"] == 401 for each in control.refusals))

        assert len(control.refusals) == refusals.MOST_WAITING_OF_ONE + 1
        assert dropped() - before == 20

    async def test_keeps_no_more_than_fits(
        self,
        deployed: httpx2.AsyncClient,
        control: ControlPlane,
        peer: Peer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(refusals, "MOST_WAITING", 3)
        peer.routes["/refusals"] = lambda _: (503, {})
        before = dropped()

        for _ in range(5):
            await predict(deployed, "churn", STRANGER)

        assert dropped() - before == 2


class TestFlush:
    async def test_tells_the_rest_before_the_end(
        self,
        settings: Settings,
        control: ControlPlane,
        cached_demos: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(refusals, "SEND_SECONDS", 60)
        async with running_service(settings) as client:
            await predict(client, str(UUID(int=9)), STRANGER)
            assert control.refusals == []

        assert [each["object_id"] for each in control.refusals] == [str(UUID(int=9))]

    async def test_does_not_wait_long_for_an_api_server_that_is_away(
        self, settings: Settings, control: ControlPlane, cached_demos: None, peer: Peer
    ) -> None:
        loop = asyncio.get_running_loop()
        async with running_service(settings) as client:
            await predict(client, "unknown", STRANGER)
            peer.delay_seconds = 30
            before, started = dropped(), loop.time()

        assert loop.time() - started < refusals.FLUSH_SECONDS + 1
        assert dropped() - before == 1
