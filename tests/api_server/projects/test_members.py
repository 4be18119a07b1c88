import asyncio
from typing import Any

import httpx2
import pytest

from api_server.database import Sessions
from platform_kit.contract.access import Role
from tests.api_server.conftest import SignIn
from tests.api_server.factories import CSV, SignedIn, upload
from tests.api_server.projects.crew import UNKNOWN, add, disable, members, new_key, new_project, try_add


@pytest.fixture
async def project_id(maker: SignedIn) -> str:
    return await new_project(maker)


async def projects_of(internal: httpx2.AsyncClient, who: SignedIn) -> list[str]:
    """What ml-service is told that somebody may reach."""
    token = who.http.headers["Authorization"].removeprefix("Bearer ")
    answer = await internal.post("/access/introspect", json={"kind": "bearer", "credential": token})
    found: list[str] = answer.json()["principal"]["project_ids"]
    return found


class TestAdd:
    async def test_takes_somebody_in_as_a_viewer(
        self, maker: SignedIn, other: SignedIn, project_id: str
    ) -> None:
        answer = await try_add(maker, project_id, username=other.username)

        body = answer.json()
        assert (answer.status_code, body["user_id"], body["role"]) == (201, str(other.id), "viewer")
        assert (body["username"], body["full_name"], body["is_primary_owner"]) == (
            other.username,
            None,
            False,
        )
        assert answer.headers["Location"] == f"/api/v1/projects/{project_id}/members/{other.id}"
        read = await maker.http.get(answer.headers["Location"].removeprefix("/api/v1"))
        assert (read.status_code, read.json()) == (200, body)
        assert (await other.http.get(f"/projects/{project_id}")).json()["role"] == "viewer"

    async def test_knows_people_by_each_of_their_names(
        self, maker: SignedIn, other: SignedIn, project_id: str
    ) -> None:
        by_email = await try_add(maker, project_id, email=f"{other.username.upper()}@example.com")
        by_name = await try_add(maker, project_id, username=other.username, role="editor")
        by_id = await try_add(maker, project_id, user_id=str(other.id))

        assert by_email.json()["email"] is not None  # who adds by an address knows it
        assert (by_email.status_code, by_email.json()["username"]) == (201, other.username)
        assert [each.json()["code"] for each in (by_name, by_id)] == ["already_member"] * 2
        assert await members(maker, project_id) == {maker.username: "owner", other.username: "viewer"}

    async def test_of_nobody_and_of_a_closed_account_are_answered_alike(
        self, maker: SignedIn, other: SignedIn, project_id: str, sessions: Sessions
    ) -> None:
        await disable(sessions, other.id)

        answers = [
            await try_add(maker, project_id, username=other.username),
            await try_add(maker, project_id, user_id=str(other.id)),
            await try_add(maker, project_id, email="nobody@example.com"),
            await try_add(maker, project_id, user_id=UNKNOWN),
        ]

        assert {(each.status_code, each.json()["code"], each.json()["detail"]) for each in answers} == {
            (404, "user_not_found", "There is no such user.")
        }

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"username": "ada", "email": "ada@example.com"},
            {"email": "no address"},
            {"username": "ada", "role": "admin"},
            {"username": "ada", "scopes": []},
        ],
    )
    async def test_wants_one_person_and_a_role(
        self, maker: SignedIn, project_id: str, body: dict[str, object]
    ) -> None:
        assert (await try_add(maker, project_id, **body)).status_code == 422

    async def test_is_for_owners_in_person(
        self, maker: SignedIn, other: SignedIn, sign_in: SignIn, client: httpx2.AsyncClient, project_id: str
    ) -> None:
        third = await sign_in()
        body = {"user_id": str(third.id)}
        foreign = await try_add(other, project_id, **body)
        await add(maker, project_id, other, "editor")
        key = await new_key(maker, "read", "write")

        editor = await try_add(other, project_id, **body)
        by_key = await client.post(f"/projects/{project_id}/members", json=body, headers=key)
        anonymous = await client.post(f"/projects/{project_id}/members", json=body)
        by_admin = await try_add(await sign_in(Role.ADMIN), project_id, **body)

        assert (foreign.status_code, foreign.json()["code"]) == (404, "project_not_found")
        assert (editor.status_code, editor.json()["code"]) == (403, "project_role_missing")
        assert (by_key.status_code, by_key.json()["code"]) == (403, "session_needed")
        assert (anonymous.status_code, by_admin.status_code) == (401, 201)

    async def test_by_many_at_once_happens_once(
        self, maker: SignedIn, other: SignedIn, project_id: str
    ) -> None:
        answers = await asyncio.gather(
            *(try_add(maker, project_id, username=other.username) for _ in range(8))
        )

        assert sorted(each.status_code for each in answers) == [201] + [409] * 7

    async def test_repeated_with_a_key_is_answered_as_the_first_time(
        self, maker: SignedIn, other: SignedIn, project_id: str
    ) -> None:
        maker.http.headers["Idempotency-Key"] = "k"

        first, again = [await try_add(maker, project_id, username=other.username) for _ in range(2)]

        assert (first.status_code, again.status_code, again.json()) == (201, 201, first.json())


class TestList:
    async def test_shows_addresses_to_administrators_only(
        self, maker: SignedIn, other: SignedIn, sign_in: SignIn, project_id: str
    ) -> None:
        await add(maker, project_id, other)
        admin = await sign_in(Role.ADMIN)

        seen = {
            who.username: [
                each["email"] is not None
                for each in (await who.http.get(f"/projects/{project_id}/members")).json()["items"]
            ]
            for who in (maker, other, admin)
        }

        assert seen == {
            maker.username: [False, False],
            other.username: [False, False],
            admin.username: [True, True],
        }

    async def test_comes_in_pages_and_by_role(
        self, maker: SignedIn, sign_in: SignIn, project_id: str
    ) -> None:
        people = [await sign_in() for _ in range(3)]
        for each in people:
            await add(maker, project_id, each, "editor")
        url = f"/projects/{project_id}/members"
        sort: dict[str, Any] = {"sort": "created_at", "limit": 2}

        first = (await maker.http.get(url, params=sort)).json()
        second = (await maker.http.get(url, params={**sort, "cursor": first["next_cursor"]})).json()
        owners = (await maker.http.get(url, params={"role": "owner"})).json()

        names = [each["username"] for each in first["items"] + second["items"]]
        assert names == [maker.username, *(each.username for each in people)]
        assert (first["total"], second["next_cursor"], owners["total"]) == (4, None, 1)
        assert owners["items"][0]["is_primary_owner"] is True

    async def test_is_not_for_strangers(self, other: SignedIn, project_id: str) -> None:
        for what in ("members", f"members/{other.id}"):
            foreign = await other.http.get(f"/projects/{project_id}/{what}")
            unknown = await other.http.get(f"/projects/{UNKNOWN}/{what}")

            assert (foreign.status_code, foreign.json()["detail"]) == (404, unknown.json()["detail"])


class TestChange:
    async def test_counts_from_the_next_request(
        self, maker: SignedIn, other: SignedIn, project_id: str
    ) -> None:
        await add(maker, project_id, other)
        form: dict[str, Any] = {
            "data": {"name": "d", "project_id": project_id},
            "files": {"file": ("a.csv", CSV)},
        }
        url = f"/projects/{project_id}/members/{other.id}"

        as_viewer = await other.http.post("/datasets", **form)
        changed = await maker.http.patch(url, json={"role": "editor"})
        as_editor = await other.http.post("/datasets", **form)

        assert (as_viewer.status_code, changed.json()["role"], as_editor.status_code) == (403, "editor", 201)

    async def test_makes_several_owners_who_share_alike(
        self, maker: SignedIn, other: SignedIn, sign_in: SignIn, project_id: str
    ) -> None:
        await add(maker, project_id, other, "owner")
        third = await sign_in()

        await add(other, project_id, third)

        assert await members(third, project_id) == {
            maker.username: "owner",
            other.username: "owner",
            third.username: "viewer",
        }

    async def test_leaves_the_primary_owner_an_owner(
        self, maker: SignedIn, other: SignedIn, project_id: str
    ) -> None:
        await add(maker, project_id, other, "owner")
        url = f"/projects/{project_id}/members/{maker.id}"

        demoted = await other.http.patch(url, json={"role": "editor"})
        removed = await other.http.delete(url)

        assert {each.status_code for each in (demoted, removed)} == {409}
        assert {each.json()["code"] for each in (demoted, removed)} == {"primary_owner_stays"}
        assert f"POST /api/v1/projects/{project_id}/transfer" in demoted.json()["detail"]
        assert (await members(maker, project_id))[maker.username] == "owner"

    async def test_of_somebody_else_is_not_found(
        self, maker: SignedIn, other: SignedIn, project_id: str
    ) -> None:
        answer = await maker.http.patch(f"/projects/{project_id}/members/{other.id}", json={"role": "viewer"})

        assert (answer.status_code, answer.json()["code"]) == (404, "member_not_found")

    async def test_of_two_owners_by_each_other_at_once_leaves_one(
        self, maker: SignedIn, other: SignedIn, sign_in: SignIn, project_id: str
    ) -> None:
        third = await sign_in()
        for each in (other, third):
            await add(maker, project_id, each, "owner")
        url = f"/projects/{project_id}/members"

        answers = await asyncio.gather(
            other.http.patch(f"{url}/{third.id}", json={"role": "viewer"}),
            third.http.patch(f"{url}/{other.id}", json={"role": "viewer"}),
        )

        assert sorted(each.status_code for each in answers) == [200, 403]
        roles = await members(maker, project_id)
        assert sorted((roles[other.username], roles[third.username])) == ["owner", "viewer"]


class TestRemove:
    async def test_shuts_somebody_out_at_once_of_both_services(
        self, maker: SignedIn, other: SignedIn, internal: httpx2.AsyncClient, project_id: str
    ) -> None:
        dataset = await upload(maker, project_id=project_id)
        await add(maker, project_id, other)
        before = (await other.http.get(f"/datasets/{dataset['id']}")).status_code
        reached = await projects_of(internal, other)

        removed = await maker.http.delete(f"/projects/{project_id}/members/{other.id}")

        assert (before, reached, removed.status_code) == (200, [project_id], 204)
        assert (await other.http.get(f"/datasets/{dataset['id']}")).status_code == 404
        assert await projects_of(internal, other) == []

    async def test_twice_says_that_there_is_nobody(
        self, maker: SignedIn, other: SignedIn, project_id: str
    ) -> None:
        await add(maker, project_id, other)

        answers = await asyncio.gather(
            *(maker.http.delete(f"/projects/{project_id}/members/{other.id}") for _ in range(4))
        )

        assert sorted(each.status_code for each in answers) == [204, 404, 404, 404]


class TestLeave:
    async def test_is_for_every_member(self, maker: SignedIn, other: SignedIn, project_id: str) -> None:
        await add(maker, project_id, other)

        left = await other.http.post(f"/projects/{project_id}/leave")

        assert left.status_code == 204
        assert (await other.http.get(f"/projects/{project_id}")).status_code == 404
        assert (await other.http.post(f"/projects/{project_id}/leave")).status_code == 404

    async def test_is_not_for_the_primary_owner_nor_for_a_key(
        self, maker: SignedIn, other: SignedIn, client: httpx2.AsyncClient, project_id: str
    ) -> None:
        await add(maker, project_id, other)
        key = await new_key(other, "write")

        owner = await maker.http.post(f"/projects/{project_id}/leave")
        by_key = await client.post(f"/projects/{project_id}/leave", headers=key)

        assert (owner.status_code, owner.json()["code"]) == (409, "primary_owner_stays")
        assert (by_key.status_code, by_key.json()["code"]) == (403, "session_needed")

    async def test_of_an_administrator_who_is_no_member_is_not_found(
        self, sign_in: SignIn, project_id: str
    ) -> None:
        admin = await sign_in(Role.ADMIN)

        answer = await admin.http.post(f"/projects/{project_id}/leave")

        assert (answer.status_code, answer.json()["code"]) == (404, "member_not_found")
