import httpx2
import pytest

from tests.api_server.factories import FakeReplica, SignedIn, Worker, new_model, upload
from tests.api_server.projects.crew import UNKNOWN, add, new_key, new_project


@pytest.fixture
async def project_id(maker: SignedIn) -> str:
    return await new_project(maker)


class TestActivity:
    async def test_tells_the_whole_story_newest_first(
        self, maker: SignedIn, project_id: str, worker: Worker, replica: FakeReplica
    ) -> None:
        dataset = await upload(maker, project_id=project_id)
        await worker.profile(dataset["job_id"])
        model = await new_model(maker, dataset_id=dataset["id"])
        await worker.train(model["job_id"])
        await replica.sync()
        await maker.http.post(f"/models/{model['id']}/deploy")
        await replica.prove_all()
        await new_project(maker, "another one")

        items = (await maker.http.get(f"/projects/{project_id}/activity")).json()["items"]

        told = [(each["action"], each["username"]) for each in reversed(items)]
        assert told == [
            ("project:create", maker.username),
            ("dataset:create", maker.username),
            ("dataset:ready", "system"),
            ("model:create", maker.username),
            ("model:version_registered", "system"),
            ("deployment:deploy", maker.username),
            ("deployment:deployed", "system"),
        ]
        registered = items[2]
        assert (registered["object_type"], registered["object_id"]) == ("model", model["id"])
        assert registered["details"] == {"name": model["name"], "version": 1, "job_id": model["job_id"]}
        assert (items[-1]["user_id"], registered["user_id"]) == (str(maker.id), None)

    async def test_shows_members_no_address_and_no_credential(
        self, maker: SignedIn, other: SignedIn, client: httpx2.AsyncClient, project_id: str
    ) -> None:
        await add(maker, project_id, other)
        key = await new_key(maker, "write", "read", project_id=project_id)
        await client.patch(f"/projects/{project_id}", json={"description": "x"}, headers=key)

        answer = await other.http.get(f"/projects/{project_id}/activity")

        names = {"id", "at", "action", "user_id", "username", "object_type", "object_id", "details"}
        assert {name for each in answer.json()["items"] for name in each} == names
        assert [each["action"] for each in answer.json()["items"]][:2] == ["project:change", "api_key:manage"]
        for secret in (key["X-API-Key"][:12], "127.0.0.1", "session:", '"key:', "@example.com"):
            assert secret not in answer.text

    async def test_leaves_out_what_was_refused(
        self, maker: SignedIn, other: SignedIn, project_id: str
    ) -> None:
        await add(maker, project_id, other)
        await other.http.patch(f"/projects/{project_id}", json={"description": "x"})

        items = (await maker.http.get(f"/projects/{project_id}/activity")).json()["items"]

        assert [each["action"] for each in items] == ["project:share", "project:create"]

    async def test_comes_by_action_and_in_pages(self, maker: SignedIn, project_id: str) -> None:
        url = f"/projects/{project_id}/activity"
        for number in range(5):
            await maker.http.patch(f"/projects/{project_id}", json={"description": str(number)})
        first = (await maker.http.get(url, params={"limit": 2, "action": "project:change"})).json()
        await maker.http.patch(f"/projects/{project_id}", json={"description": "late"})

        cursor = {"cursor": first["next_cursor"], "limit": 9, "action": "project:change"}
        rest = (await maker.http.get(url, params=cursor)).json()
        unknown = await maker.http.get(url, params={"action": "project:dream"})

        ids = [each["id"] for each in first["items"] + rest["items"]]
        assert (len(ids), len(set(ids)), rest["next_cursor"]) == (5, 5, None)
        assert (await maker.http.get(url, params={"action": "dataset:ready"})).json()["items"] == []
        assert unknown.status_code == 422

    async def test_is_for_members(
        self, maker: SignedIn, other: SignedIn, client: httpx2.AsyncClient, project_id: str
    ) -> None:
        url = f"/projects/{project_id}/activity"
        foreign, unknown = await other.http.get(url), await other.http.get(f"/projects/{UNKNOWN}/activity")

        assert (foreign.status_code, foreign.json()["detail"]) == (404, unknown.json()["detail"])
        assert (await client.get(url)).status_code == 401
