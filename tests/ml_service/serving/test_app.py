"""The prediction service over HTTP, following a peer's desired state."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openapi_spec_validator import validate

from ml_service.app import create_app
from ml_service.settings import Settings
from platform_kit.contract.artifact import GoldenRow
from platform_kit.contract.serving import ServedVersion
from platform_kit.plumbing.object_store import ObjectStore
from tests.ml_service.peer import Peer
from tests.ml_service.serving.calling import OWNER, ROW, ControlPlane, predict, serves, until
from tests.ml_service.serving.publishing import publish, served


class TestFollowing:
    async def test_proves_a_candidate_and_then_serves_it(
        self, client: httpx2.AsyncClient, control: ControlPlane, churn: ServedVersion
    ) -> None:
        control.change(active=[], candidates=[churn])
        await until(lambda: bool(control.proofs))
        assert (control.proofs[0]["holds"], control.proofs[0]["deployment_id"]) == (
            True,
            str(churn.deployment_id),
        )

        control.change(active=[churn])
        await serves(client, 1)

        body = (await predict(client, "churn", OWNER)).json()
        assert (body["model_id"], body["metadata"]["model_version"]) == (str(churn.model_id), 1)
        assert body["metadata"]["digest"] == churn.manifest.digest

    async def test_refuses_a_candidate_whose_golden_rows_differ(
        self,
        client: httpx2.AsyncClient,
        control: ControlPlane,
        store: ObjectStore,
        demo_folder: Path,
        churn: ServedVersion,
    ) -> None:
        manifest = json.loads((demo_folder / "demo_model_1" / "manifest.json").read_bytes())
        rows = manifest["golden_rows"]
        rows[2]["prediction"] = 1 - rows[2]["prediction"]
        folder = demo_folder / "demo_model_1"
        lie = served(
            publish(store, folder, golden_rows=[GoldenRow.model_validate(each) for each in rows]), version=2
        )
        control.change(active=[churn], candidates=[lie])

        await until(lambda: bool(control.proofs))

        assert control.proofs[0]["holds"] is False
        assert "golden row 2" in control.proofs[0]["reason"]
        assert (await predict(client, "churn", OWNER)).json()["metadata"]["model_version"] == 1

    async def test_refuses_a_candidate_whose_bytes_were_changed(
        self, client: httpx2.AsyncClient, control: ControlPlane, store: ObjectStore, churn: ServedVersion
    ) -> None:
        store.put_bytes(churn.manifest.key, b"{}")

        control.change(active=[], candidates=[churn])
        await until(lambda: bool(control.proofs))

        assert (control.proofs[0]["holds"], "DigestMismatch" in control.proofs[0]["reason"]) == (False, True)

    async def test_changes_versions_under_load_without_an_error(
        self,
        client: httpx2.AsyncClient,
        control: ControlPlane,
        store: ObjectStore,
        demo_folder: Path,
        churn: ServedVersion,
    ) -> None:
        second = served(publish(store, demo_folder / "demo_model_1", seed=99), version=2)
        control.change(active=[churn])
        await serves(client, 1)
        stop = asyncio.Event()
        answers: list[httpx2.Response] = []

        async def ask() -> None:
            while not stop.is_set():
                answers.append(await predict(client, "churn", OWNER))
                await asyncio.sleep(0.002)  # in one process nothing else would get its turn

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        for version in (second, churn, second):
            control.change(active=[version])
            await serves(client, version.version)
        stop.set()
        await asyncio.gather(*asking)

        assert {each.status_code for each in answers} == {200}
        by_version = {
            each.json()["metadata"]["model_version"]: each.json()["metadata"]["digest"] for each in answers
        }
        assert by_version == {1: churn.manifest.digest, 2: second.manifest.digest}

    async def test_goes_on_while_api_server_is_away(
        self, client: httpx2.AsyncClient, control: ControlPlane, peer: Peer, churn: ServedVersion
    ) -> None:
        control.change(active=[churn])
        await serves(client, 1)
        peer.status = 500
        await asyncio.sleep(0.2)

        assert (await predict(client, "churn", OWNER)).status_code == 200
        assert (await predict(client, "demo_model_2")).status_code == 200
        stranger = await predict(client, "churn", {"Authorization": "Bearer never-seen"})
        unknown = await predict(client, "not-in-the-state", OWNER)
        assert (stranger.status_code, unknown.status_code) == (503, 503)
        assert int(unknown.headers["Retry-After"]) > 0
        assert (await client.get("/health/ready")).status_code == 200

    async def test_starts_without_api_server_with_what_it_served_before(
        self,
        client: httpx2.AsyncClient,
        control: ControlPlane,
        peer: Peer,
        churn: ServedVersion,
        settings: Settings,
    ) -> None:
        control.change(active=[churn])
        await serves(client, 1)
        await predict(client, "churn", OWNER)
        peer.status = 500

        restarted = create_app(settings)
        async with restarted.router.lifespan_context(restarted) as state:
            assert state is not None
            active = restarted.state.desired_state.active

        assert [(each.endpoint, each.version) for each in active] == [("churn", 1)]


class TestRequests:
    @pytest.mark.parametrize(
        ("raw", "content_type", "status"),
        [
            (b"{}", "text/plain", 415),
            (b"a=1", "application/x-www-form-urlencoded", 415),
            (b"{", "application/json", 400),
            (b"[" * 50_000, "application/json", 422),
            (b'{"input_data": {}}', "application/json; charset=utf-8", 422),
        ],
    )
    async def test_that_cannot_be_read_get_the_right_code(
        self, client: httpx2.AsyncClient, raw: bytes, content_type: str, status: int
    ) -> None:
        answer = await client.post(
            "/predict/demo_model_1", content=raw, headers={"Content-Type": content_type}
        )

        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]

    async def test_that_are_too_large_are_refused(
        self, settings: Settings, client: httpx2.AsyncClient
    ) -> None:
        body = b'{"input_data": "' + b"x" * settings.max_request_bytes + b'"}'

        answer = await client.post(
            "/predict/demo_model_1", content=body, headers={"Content-Type": "application/json"}
        )

        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")

    async def test_a_large_batch_answers_every_row(self, client: httpx2.AsyncClient) -> None:
        rows = [{**ROW, "feature1": n / 100} for n in range(3000)]

        answer = await client.post("/predict/demo_model_2/batch", json={"inputs": rows})

        assert (answer.status_code, len(answer.json()["predictions"])) == (200, 3000)

    async def test_count_failures_too(self, client: httpx2.AsyncClient) -> None:
        await predict(client, "demo_model_2")
        await client.post("/predict/demo_model_2", json={"input_data": {}})

        stats = (await client.get("/stats")).json()

        assert stats["models"]["demo_model_2"]["total_requests"] == 2
        assert stats["models"]["demo_model_2"]["success_rate"] == 0.5
        assert stats["global"]["latency"]["p95"] > 0

    async def test_metrics_name_model_and_version(self, client: httpx2.AsyncClient) -> None:
        await predict(client, "demo_model_1")

        text = (await client.get("/metrics")).text

        assert 'mlp_predictions_total{model="demo_model_1",outcome="ok",version="1"}' in text


class TestModelPages:
    async def test_a_demo_says_its_rule_and_its_scores(self, client: httpx2.AsyncClient) -> None:
        found = (await client.get("/models/demo_model_1")).json()

        assert "feature1 + 2*feature2 - feature3 > 0" in found["rule"]
        assert 0.8 < found["metrics"]["accuracy"] < 0.95
        assert [each["name"] for each in found["contract"]["fields"]] == list(ROW)

    async def test_have_an_openapi_document_of_their_own(
        self, client: httpx2.AsyncClient, control: ControlPlane, churn: ServedVersion
    ) -> None:
        control.change(active=[churn])
        await serves(client, 1)

        answer = await client.get("/models/churn/openapi.json", headers=OWNER)
        document = answer.json()

        validate(document)
        assert set(document["paths"]) == {"/predict/churn", "/predict/churn/batch"}
        row = document["components"]["schemas"]["Row"]
        assert (row["required"], row["additionalProperties"]) == (list(ROW), False)
        assert (await predict(client, "churn", OWNER)).status_code == 200
        example = await client.post("/predict/churn", json={"input_data": row["examples"][0]}, headers=OWNER)
        assert example.status_code == 200
        assert (await client.get("/models/churn/openapi.json")).status_code == 401


class TestSigningInFromTheDocs:
    def token_url(self, document: dict[str, Any]) -> str:
        flows = document["components"]["securitySchemes"]["password"]["flows"]
        found: str = flows["password"]["tokenUrl"]
        return found

    async def test_goes_to_api_servers_own_address_without_a_proxy(
        self, client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        document = (await client.get("/openapi.json")).json()

        validate(document)
        assert self.token_url(document) == f"{settings.public_api_url}/api/v1/auth/token"
        assert "servers" not in document

    async def test_stays_on_the_one_origin_of_a_proxy_whatever_its_name(
        self, client: httpx2.AsyncClient
    ) -> None:
        document = (await client.get("/openapi.json", headers={"X-Forwarded-Prefix": "/ml"})).json()

        validate(document)
        assert self.token_url(document) == "/api/v1/auth/token"
        assert document["servers"] == [{"url": "/ml"}]

    async def test_is_offered_for_each_prediction(self, client: httpx2.AsyncClient) -> None:
        document = (await client.get("/openapi.json")).json()

        offered = document["paths"]["/predict/{model}"]["post"]["security"]
        assert {"password": []} in offered
        assert {"HTTPBearer": []} in offered


async def test_a_prefix_of_a_proxy_changes_no_answer(client: httpx2.AsyncClient) -> None:
    answer = await predict(client, "demo_model_1", {"X-Forwarded-Prefix": "/ml"})

    assert answer.status_code == 200
