import httpx2
import pytest

from tests.api_server.factories import SignedIn, Worker, new_model, trained_model

UNKNOWN = "00000000-0000-4000-8000-000000000000"


class TestGet:
    async def test_shows_the_newest_version_and_its_scores(self, maker: SignedIn, worker: Worker) -> None:
        model = await trained_model(maker, worker)

        assert (model["status"], model["version"], model["metrics"]) == ("trained", 1, {"accuracy": 0.9})
        version = (await maker.http.get(f"/models/{model['id']}/versions/1")).json()
        assert version["manifest"]["classes"] == ["no", "yes"]
        assert (version["status"], version["job_id"], version["aliases"]) == (
            "trained",
            model["job_id"],
            ["latest"],
        )

    @pytest.mark.parametrize("tail", ["", "/versions", "/versions/1"])
    async def test_hides_foreign_models(
        self, maker: SignedIn, other: SignedIn, client: httpx2.AsyncClient, worker: Worker, tail: str
    ) -> None:
        model = await trained_model(maker, worker)

        foreign = await other.http.get(f"/models/{model['id']}{tail}")
        unknown = await other.http.get(f"/models/{UNKNOWN}{tail}")

        assert foreign.status_code == unknown.status_code == 404
        assert foreign.json()["detail"] == unknown.json()["detail"]
        assert (await client.get(f"/models/{model['id']}{tail}")).status_code == 401

    async def test_says_which_versions_there_are(self, maker: SignedIn, worker: Worker) -> None:
        model = await trained_model(maker, worker)

        answer = await maker.http.get(f"/models/{model['id']}/versions/7")

        assert (answer.status_code, answer.json()["code"]) == (404, "model_version_not_found")
        assert "versions 1 to 1" in answer.json()["detail"]


class TestList:
    async def test_filters_by_status(self, maker: SignedIn, worker: Worker) -> None:
        trained, fresh = await trained_model(maker, worker), await new_model(maker)

        by_status = {
            status: [
                each["id"]
                for each in (await maker.http.get("/models", params={"status": status})).json()["items"]
            ]
            for status in ("created", "trained", "deployed")
        }

        assert by_status == {"created": [fresh["id"]], "trained": [trained["id"]], "deployed": []}


class TestChange:
    async def test_takes_what_may_be_changed_and_nothing_else(self, maker: SignedIn) -> None:
        model = await new_model(maker)

        good = await maker.http.patch(
            f"/models/{model['id']}", json={"description": "who leaves", "tags": ["a"]}
        )
        bad = await maker.http.patch(f"/models/{model['id']}", json={"status": "deployed"})

        assert (good.json()["description"], good.json()["tags"]) == ("who leaves", ["a"])
        assert (bad.status_code, bad.json()["errors"][0]["code"]) == (422, "unknown_field")


class TestDelete:
    async def test_removes_a_model_at_rest_only(
        self, maker: SignedIn, other: SignedIn, worker: Worker
    ) -> None:
        model = await trained_model(maker, worker)
        job_id = (await maker.http.post(f"/models/{model['id']}/train", json={})).json()["id"]
        busy = await maker.http.delete(f"/models/{model['id']}")
        await maker.http.post(f"/jobs/{job_id}/cancel")

        assert (busy.status_code, busy.json()["code"]) == (409, "model_in_use")
        assert (await other.http.delete(f"/models/{model['id']}")).status_code == 404
        assert (await maker.http.delete(f"/models/{model['id']}")).status_code == 204
        assert (await maker.http.get(f"/models/{model['id']}")).status_code == 404
