import asyncio

import pytest

from api_server.database import Sessions
from platform_kit.contract.access import Role
from tests.api_server.conftest import SignIn
from tests.api_server.factories import SignedIn, upload
from tests.api_server.projects.crew import UNKNOWN, add, members, new_project, written


@pytest.fixture
async def project_id(maker: SignedIn) -> str:
    return await new_project(maker)


class TestTransfer:
    async def test_makes_the_former_owner_an_editor(
        self, maker: SignedIn, other: SignedIn, project_id: str
    ) -> None:
        answer = await maker.http.post(f"/projects/{project_id}/transfer", json={"username": other.username})

        body = answer.json()
        assert (answer.status_code, body["owner_id"], body["role"]) == (200, str(other.id), "editor")
        assert await members(other, project_id) == {maker.username: "editor", other.username: "owner"}
        read = await other.http.get(f"/projects/{project_id}")
        assert answer.headers["ETag"] == read.headers["ETag"]

    async def test_frees_the_former_owner_to_leave(
        self, maker: SignedIn, other: SignedIn, project_id: str
    ) -> None:
        await maker.http.post(f"/projects/{project_id}/transfer", json={"user_id": str(other.id)})

        assert (await maker.http.post(f"/projects/{project_id}/leave")).status_code == 204

    async def test_is_for_the_primary_owner_or_an_administrator(
        self, maker: SignedIn, other: SignedIn, sign_in: SignIn, project_id: str
    ) -> None:
        third = await sign_in()
        await add(maker, project_id, other, "owner")
        url, body = f"/projects/{project_id}/transfer", {"user_id": str(third.id)}

        stranger = await third.http.post(url, json=body)
        second_owner = await other.http.post(url, json=body)
        admin = await (await sign_in(Role.ADMIN)).http.post(url, json=body)

        assert stranger.status_code == 404
        assert (second_owner.status_code, second_owner.json()["code"]) == (403, "not_the_primary_owner")
        assert (admin.status_code, admin.json()["owner_id"], admin.json()["role"]) == (
            200,
            str(third.id),
            None,
        )

    async def test_needs_somebody_who_can_own_it(
        self, maker: SignedIn, other: SignedIn, sign_in: SignIn, project_id: str
    ) -> None:
        reader = await sign_in(Role.USER)
        await new_project(other, "churn")
        url = f"/projects/{project_id}/transfer"

        answers = [
            await maker.http.post(url, json={"user_id": str(reader.id)}),
            await maker.http.post(url, json={"user_id": str(maker.id)}),
            await maker.http.post(url, json={"user_id": str(other.id)}),
            await maker.http.post(url, json={"user_id": UNKNOWN}),
        ]

        assert [(each.status_code, each.json()["code"]) for each in answers] == [
            (409, "not_handed_over"),
            (409, "not_handed_over"),
            (409, "project_name_taken"),
            (404, "user_not_found"),
        ]
        assert "data_scientist" in answers[0].json()["detail"]
        assert await members(maker, project_id) == {maker.username: "owner"}

    async def test_leaves_personal_projects_where_they_are(self, maker: SignedIn, other: SignedIn) -> None:
        personal = (await upload(maker))["project_id"]

        answer = await maker.http.post(f"/projects/{personal}/transfer", json={"user_id": str(other.id)})

        assert (answer.status_code, answer.json()["code"]) == (409, "not_handed_over")

    async def test_keeps_to_the_revision_that_was_seen(
        self, maker: SignedIn, other: SignedIn, project_id: str
    ) -> None:
        answer = await maker.http.post(
            f"/projects/{project_id}/transfer", json={"user_id": str(other.id)}, headers={"If-Match": '"9"'}
        )

        assert answer.status_code == 412

    async def test_to_two_at_once_goes_to_one(
        self, maker: SignedIn, other: SignedIn, sign_in: SignIn, project_id: str, sessions: Sessions
    ) -> None:
        third = await sign_in()
        url = f"/projects/{project_id}/transfer"

        answers = await asyncio.gather(
            *(maker.http.post(url, json={"user_id": str(each.id)}) for each in (other, third))
        )

        assert sorted(each.status_code for each in answers) == [200, 403]
        roles = await members(maker, project_id)
        assert sorted(roles.values()) == ["editor", "owner"]
        assert len([each for each in await written(sessions, action="project:share", outcome="done")]) == 1

    @pytest.mark.parametrize("attempt", range(3))
    async def test_against_a_delete_is_one_of_both(
        self, maker: SignedIn, other: SignedIn, project_id: str, attempt: int
    ) -> None:
        url = f"/projects/{project_id}"
        handing = maker.http.post(f"{url}/transfer", json={"user_id": str(other.id)})
        deleting = maker.http.delete(url)

        first, second = await asyncio.gather(*((handing, deleting) if attempt % 2 else (deleting, handing)))

        transfer, delete = (first, second) if attempt % 2 else (second, first)
        assert (transfer.status_code, delete.status_code) in {(200, 403), (404, 204)}
        assert (await other.http.get(url)).status_code == (200 if transfer.status_code == 200 else 404)

    async def test_against_the_removal_of_who_takes_it_leaves_an_owner_who_is_a_member(
        self, maker: SignedIn, other: SignedIn, project_id: str
    ) -> None:
        await add(maker, project_id, other)

        await asyncio.gather(
            maker.http.post(f"/projects/{project_id}/transfer", json={"user_id": str(other.id)}),
            maker.http.delete(f"/projects/{project_id}/members/{other.id}"),
        )

        found = (await maker.http.get(f"/projects/{project_id}")).json()
        owners = (await maker.http.get(f"/projects/{project_id}/members", params={"role": "owner"})).json()
        assert [each["user_id"] for each in owners["items"]] == [found["owner_id"]]
