import asyncio
from typing import Any

import httpx2
import pytest

from platform_kit.contract.access import Role
from tests.api_server.conftest import SignIn
from tests.api_server.factories import SignedIn, upload

UNKNOWN = "00000000-0000-4000-8000-000000000000"


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
            ({"tags": ["x" * 51]}, "0"),
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
    async def test_says_what_is_still_in_it(self, maker: SignedIn) -> None:
        project_id = (await new(maker)).json()["id"]
        dataset = await upload(maker, project_id=project_id)

        full = await maker.http.delete(f"/projects/{project_id}")
        await maker.http.delete(f"/datasets/{dataset['id']}")
        empty = await maker.http.delete(f"/projects/{project_id}")

        assert (full.status_code, full.json()["code"]) == (409, "project_in_use")
        assert "datasets" in full.json()["detail"]
        assert empty.status_code == 204


class TestList:
    async def test_is_the_callers_own_filtered_and_sorted(self, maker: SignedIn, other: SignedIn) -> None:
        for name in ("b", "a", "c"):
            await new(maker, name=name, tags=["x"] if name != "b" else [])
        await new(other)

        by_name = (await maker.http.get("/projects", params={"sort": "name"})).json()["items"]
        tagged = (await maker.http.get("/projects", params={"sort": "-name", "tag": "x"})).json()["items"]

        assert [each["name"] for each in by_name] == ["a", "b", "c"]
        assert [each["name"] for each in tagged] == ["c", "a"]

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
