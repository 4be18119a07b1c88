import asyncio
from typing import Any

import httpx2
import pytest

from platform_kit.contract.access import Role
from tests.api_server.conftest import SignIn
from tests.api_server.factories import CSV, FakeReplica, SignedIn, Worker, new_model, upload
from tests.api_server.projects.crew import UNKNOWN, add, new_key, new_project


async def new(who: SignedIn, **fields: object) -> httpx2.Response:
    return await who.http.post("/projects", json={"name": "churn", **fields})


class TestCreate:
    async def test_makes_the_caller_its_owner(self, maker: SignedIn) -> None:
        answer = await new(maker, tags=["a"], config={"split": {"test": 0.3}}, description="who leaves")

        body = answer.json()
        assert (answer.status_code, body["role"], body["owner_id"]) == (201, "owner", str(maker.id))
        assert (body["status"], body["config"]) == ("active", {"split": {"test": 0.3}})
        assert answer.headers["Location"] == f"/api/v1/projects/{body['id']}"

    async def test_keeps_names_apart_for_each_owner(self, maker: SignedIn, other: SignedIn) -> None:
        statuses = [(await new(each)).status_code for each in (maker, maker, other)]

        assert statuses == [201, 409, 201]

    async def test_by_many_at_once_makes_one(self, maker: SignedIn) -> None:
        answers = await asyncio.gather(*(new(maker) for _ in range(8)))

        assert sorted(each.status_code for each in answers) == [201] + [409] * 7

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"name": ""}, "name"),
            ({"owner_id": UNKNOWN}, "owner_id"),
            ({"tags": ["x" * 51]}, "tags"),
            ({"config": 1}, "config"),
        ],
    )
    async def test_names_what_is_wrong(self, maker: SignedIn, fields: dict[str, object], field: str) -> None:
        answer = await new(maker, **fields)

        assert answer.status_code == 422
        assert [each["field"] for each in answer.json()["errors"]] == [field]

    async def test_needs_somebody_who_may_make_things(
        self, sign_in: SignIn, client: httpx2.AsyncClient
    ) -> None:
        reader = await sign_in(Role.USER)

        assert (await new(reader)).status_code == 403
        assert (await client.post("/projects", json={"name": "x"})).status_code == 401

    async def test_repeated_with_a_key_is_one_project(self, maker: SignedIn) -> None:
        maker.http.headers["Idempotency-Key"] = "k"

        first, again, different = await new(maker), await new(maker), await new(maker, description="other")

        assert (again.status_code, again.json()) == (201, first.json())
        assert (different.status_code, different.json()["code"]) == (422, "idempotency_key_reused")

    async def test_with_one_key_by_many_at_once_is_one_project(self, maker: SignedIn) -> None:
        maker.http.headers["Idempotency-Key"] = "k"

        answers = await asyncio.gather(*(new(maker) for _ in range(6)))

        assert {each.status_code for each in answers} <= {201, 409}
        assert len({each.json()["id"] for each in answers if each.status_code == 201}) == 1
        assert {each.json()["code"] for each in answers if each.status_code == 409} <= {"request_in_flight"}

    async def test_one_users_key_is_nobody_elses(self, maker: SignedIn, other: SignedIn) -> None:
        for who in (maker, other):
            who.http.headers["Idempotency-Key"] = "k"

        assert (await new(maker)).json()["id"] != (await new(other)).json()["id"]


class TestForeign:
    @pytest.mark.parametrize("verb", ["get", "patch", "delete"])
    async def test_is_as_if_unknown(
        self, maker: SignedIn, other: SignedIn, client: httpx2.AsyncClient, verb: str
    ) -> None:
        project_id = (await new(maker)).json()["id"]
        body: dict[str, Any] = {"json": {"name": "mine now"}} if verb == "patch" else {}

        foreign = await other.http.request(verb, f"/projects/{project_id}", **body)
        unknown = await other.http.request(verb, f"/projects/{UNKNOWN}", **body)

        assert foreign.status_code == unknown.status_code == 404
        assert foreign.json()["detail"] == unknown.json()["detail"]
        assert (await client.request(verb, f"/projects/{project_id}", **body)).status_code == 401
        assert (await maker.http.get(f"/projects/{project_id}")).json()["name"] == "churn"

    async def test_is_open_to_an_administrator(self, maker: SignedIn, sign_in: SignIn) -> None:
        project_id = (await new(maker)).json()["id"]
        admin = await sign_in(Role.ADMIN)

        found = (await admin.http.get(f"/projects/{project_id}")).json()

        assert (found["name"], found["role"]) == ("churn", None)


class TestChange:
    async def test_of_one_revision_by_many_happens_once(self, maker: SignedIn) -> None:
        created = await new(maker)
        url, condition = f"/projects/{created.json()['id']}", {"If-Match": created.headers["ETag"]}

        answers = await asyncio.gather(
            *(maker.http.patch(url, json={"description": str(n)}, headers=condition) for n in range(8))
        )

        assert sorted(each.status_code for each in answers) == [200] + [412] * 7

    async def test_moves_through_its_states(self, maker: SignedIn) -> None:
        project_id = (await new(maker)).json()["id"]
        url = f"/projects/{project_id}"

        states = [
            (await maker.http.patch(url, json={"status": each})).json().get("status")
            for each in ("archived", "completed", "active", "deleted")
        ]

        assert states == ["archived", "completed", "active", 422]

    async def test_to_a_name_that_is_taken_is_refused(self, maker: SignedIn) -> None:
        await new(maker)
        second = (await new(maker, name="other")).json()["id"]

        answer = await maker.http.patch(f"/projects/{second}", json={"name": "churn"})

        assert (answer.status_code, answer.json()["code"]) == (409, "project_name_taken")


class TestDelete:
    async def test_says_what_is_still_in_it(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica
    ) -> None:
        project_id = await new_project(maker)
        dataset = await upload(maker, project_id=project_id)
        await worker.profile(dataset["job_id"])
        model = await new_model(maker, dataset_id=dataset["id"])
        await worker.train(model["job_id"])
        await replica.sync()
        await maker.http.post(f"/models/{model['id']}/deploy")
        await replica.prove_all()
        await new_model(maker, dataset_id=dataset["id"])
        await new_key(maker, "read", project_id=project_id)

        answer = await maker.http.delete(f"/projects/{project_id}")

        assert (answer.status_code, answer.json()["code"]) == (409, "project_in_use")
        assert "2 models (1 deployed), 1 dataset, 1 unfinished job:" in answer.json()["detail"]
        assert "1 API key bound to it would end with it" in answer.json()["detail"]

    async def test_does_not_mind_members_keys_and_what_was_done(
        self, maker: SignedIn, other: SignedIn, client: httpx2.AsyncClient
    ) -> None:
        project_id = await new_project(maker)
        await add(maker, project_id, other)
        key = await new_key(maker, "read", project_id=project_id)
        dataset = await upload(maker, project_id=project_id)
        await maker.http.delete(f"/datasets/{dataset['id']}")

        deleted = await maker.http.delete(f"/projects/{project_id}")

        assert deleted.status_code == 204
        assert (await other.http.get(f"/projects/{project_id}")).status_code == 404
        assert (await client.get("/projects", headers=key)).status_code == 401

    @pytest.mark.parametrize("attempt", range(3))
    async def test_against_an_upload_is_one_of_both(self, maker: SignedIn, attempt: int) -> None:
        project_id = await new_project(maker)
        form: dict[str, Any] = {
            "data": {"name": "d", "project_id": project_id},
            "files": {"file": ("a.csv", CSV)},
        }

        uploaded, deleted = await asyncio.gather(
            maker.http.post("/datasets", **form), maker.http.delete(f"/projects/{project_id}")
        )

        assert (uploaded.status_code, deleted.status_code) in {(201, 409), (404, 204)}


class TestStatus:
    @pytest.mark.parametrize("status", ["archived", "completed"])
    async def test_other_than_active_takes_nothing_new_and_keeps_the_rest_going(
        self, maker: SignedIn, worker: Worker, replica: FakeReplica, status: str
    ) -> None:
        project_id = await new_project(maker)
        dataset = await upload(maker, project_id=project_id)
        await worker.profile(dataset["job_id"])
        model = await new_model(maker, dataset_id=dataset["id"])
        await worker.train(model["job_id"])
        await maker.http.patch(f"/projects/{project_id}", json={"status": status})
        file, url = {"file": ("a.csv", CSV)}, f"/models/{model['id']}"
        body = {"name": "m", "model_type": "regression", "framework": "lightgbm", "project_id": project_id}

        refused = [
            await maker.http.post("/datasets", data={"name": "d", "project_id": project_id}, files=file),
            await maker.http.post(f"/datasets/{dataset['id']}/versions", files=file),
            await maker.http.post("/models", json=body),
            await maker.http.post(f"{url}/train", json={}),
            await maker.http.post(f"{url}/deploy"),
        ]
        still = [
            await maker.http.get(f"/datasets/{dataset['id']}/download"),
            await maker.http.patch(url, json={"description": "kept"}),
            await maker.http.patch(f"/projects/{project_id}", json={"status": "active"}),
            await maker.http.post(f"/datasets/{dataset['id']}/versions", files=file),
        ]

        assert {(each.status_code, each.json()["code"]) for each in refused} == {(409, "project_not_active")}
        assert "status active" in refused[0].json()["detail"]
        assert [each.status_code for each in still] == [200] * 4


class TestList:
    async def test_is_the_callers_own_filtered_and_sorted(self, maker: SignedIn, other: SignedIn) -> None:
        for name in ("b", "a", "c"):
            await new(maker, name=name, tags=["x"] if name != "b" else [])
        await new(other)

        by_name = (await maker.http.get("/projects", params={"sort": "name"})).json()["items"]
        tagged = (await maker.http.get("/projects", params={"sort": "-name", "tag": "x"})).json()["items"]

        assert [each["name"] for each in by_name] == ["a", "b", "c"]
        assert [each["name"] for each in tagged] == ["c", "a"]

    async def test_finds_text_in_names_descriptions_and_tags(self, maker: SignedIn) -> None:
        await new(maker, name="Churn 100%")
        await new(maker, name="b", description="who will CHURN?")
        await new(maker, name="c", tags=["fraud", "Churn_2026"])
        await new(maker, name="d", tags=["ch", "urn"])

        async def found(**query: str) -> list[str]:
            answer = await maker.http.get("/projects", params={"sort": "name", **query})
            return [each["name"] for each in answer.json()["items"]]

        assert await found(q="churn") == ["Churn 100%", "b", "c"]
        assert await found(q="0%") == ["Churn 100%"]
        assert await found(q="n_2") == ["c"]
        assert await found(q="%") == ["Churn 100%"]
        assert await found(q="_") == ["c"]
        assert await found(q="\\") == []
        assert await found(q="churn", tag="fraud") == ["c"]

    async def test_comes_by_status(self, maker: SignedIn) -> None:
        for name in ("a", "b"):
            await new(maker, name=name)
        first = (await maker.http.get("/projects")).json()["items"][0]
        await maker.http.patch(f"/projects/{first['id']}", json={"status": "completed"})

        found = (await maker.http.get("/projects", params={"status": "completed"})).json()

        assert [each["id"] for each in found["items"]] == [first["id"]]

    async def test_pages_do_not_shift_under_new_rows(self, maker: SignedIn) -> None:
        for number in range(5):
            await new(maker, name=f"p{number}")
        first = (await maker.http.get("/projects", params={"limit": 2})).json()
        await new(maker, name="late")

        second = (
            await maker.http.get("/projects", params={"limit": 9, "cursor": first["next_cursor"]})
        ).json()

        assert [each["name"] for each in first["items"] + second["items"]] == ["p4", "p3", "p2", "p1", "p0"]
        assert second["next_cursor"] is None


class TestPersonal:
    async def test_is_made_once_however_many_need_it(self, maker: SignedIn) -> None:
        datasets = await asyncio.gather(*(upload(maker) for _ in range(4)))

        assert len({each["project_id"] for each in datasets}) == 1
        (project,) = (await maker.http.get("/projects")).json()["items"]
        assert (project["is_personal"], project["name"]) == (True, "personal")

    @pytest.mark.parametrize("status", ["archived", "completed"])
    async def test_takes_nothing_new_while_it_is_not_active_also_when_nobody_names_it(
        self, maker: SignedIn, status: str
    ) -> None:
        project = (await upload(maker))["project_id"]
        await maker.http.patch(f"/projects/{project}", json={"status": status})

        uploaded = await maker.http.post(
            "/datasets", data={"name": "more"}, files={"file": ("more.csv", b"a\n1\n")}
        )
        body = {"name": "m", "model_type": "regression", "framework": "xgboost"}
        created = await maker.http.post("/models", json=body)

        for answer in (uploaded, created):
            assert (answer.status_code, answer.json()["code"]) == (409, "project_not_active")
