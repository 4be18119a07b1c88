import asyncio

import httpx2
import pytest

from platform_kit.contract.access import Role
from tests.api_server.conftest import SignIn
from tests.api_server.factories import PASSWORD, SignedIn, upload

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def admin(sign_in: SignIn) -> SignedIn:
    return await sign_in(Role.ADMIN)


class TestListUsers:
    async def test_finds_by_text_role_and_state(self, admin: SignedIn, maker: SignedIn) -> None:
        await admin.http.patch(f"/users/{maker.id}", json={"full_name": "Grace H.", "is_active": False})

        async def names(query: str) -> list[str]:
            return [each["username"] for each in (await admin.http.get(f"/users?{query}")).json()["items"]]

        assert await names("q=GRACE") == [maker.username]
        assert await names("role=admin") == [admin.username]
        assert await names("is_active=false") == [maker.username]
        assert await names("sort=username") == sorted([admin.username, maker.username])
        assert await names("q=%25") == []

    @pytest.mark.parametrize("role", [Role.USER, Role.DATA_SCIENTIST])
    @pytest.mark.parametrize("path", ["/users", f"/users/{NOBODY}", "/invitations", "/audit"])
    async def test_is_for_administrators(self, sign_in: SignIn, role: Role, path: str) -> None:
        answer = await (await sign_in(role)).http.get(path)

        assert (answer.status_code, answer.json()["code"]) == (403, "role_missing")

    async def test_shows_no_hash(self, admin: SignedIn) -> None:
        assert "argon2" not in (await admin.http.get("/users")).text


class TestChangeUser:
    @pytest.mark.parametrize("word", [0, 1, "true", "off"])
    async def test_takes_no_other_word_for_yes_or_no(
        self, admin: SignedIn, maker: SignedIn, word: object
    ) -> None:
        answer = await admin.http.patch(f"/users/{maker.id}", json={"is_active": word})

        assert answer.status_code == 422
        assert [each["pointer"] for each in answer.json()["errors"]] == ["/is_active"]

    async def test_counts_at_once_for_tokens_that_are_out(self, admin: SignedIn, maker: SignedIn) -> None:
        await admin.http.patch(f"/users/{maker.id}", json={"role": "user"})
        as_user = await maker.http.post("/projects", json={"name": "p"})
        await admin.http.patch(f"/users/{maker.id}", json={"role": "data_scientist"})
        as_maker = await maker.http.post("/projects", json={"name": "p"})

        assert (as_user.status_code, as_maker.status_code) == (403, 201)

    async def test_that_disables_ends_all_sessions_for_good(
        self, client: httpx2.AsyncClient, admin: SignedIn, maker: SignedIn
    ) -> None:
        changed = await admin.http.patch(f"/users/{maker.id}", json={"is_active": False})

        assert changed.json()["is_active"] is False
        assert (await maker.http.get("/auth/me")).status_code == 401
        await admin.http.patch(f"/users/{maker.id}", json={"is_active": True})
        assert (await maker.http.get("/auth/me")).status_code == 401
        form = {"username": maker.username, "password": PASSWORD}
        assert (await client.post("/auth/token", data=form)).status_code == 200

    async def test_makes_a_data_scientist_with_datasets_a_reader(
        self, admin: SignedIn, maker: SignedIn
    ) -> None:
        dataset = await upload(maker)
        await admin.http.patch(f"/users/{maker.id}", json={"role": "user"})

        read = await maker.http.get(f"/datasets/{dataset['id']}")
        changed = await maker.http.patch(f"/datasets/{dataset['id']}", json={"name": "n"})
        deleted = await maker.http.delete(f"/datasets/{dataset['id']}")

        assert [each.status_code for each in (read, changed, deleted)] == [200, 403, 403]

    @pytest.mark.parametrize("change", [{"role": "user"}, {"is_active": False}])
    async def test_leaves_one_administrator(self, admin: SignedIn, change: dict[str, object]) -> None:
        answer = await admin.http.patch(f"/users/{admin.id}", json=change)

        assert (answer.status_code, answer.json()["code"]) == (409, "last_administrator")

    async def test_leaves_one_when_two_demote_each_other_at_once(
        self, admin: SignedIn, sign_in: SignIn
    ) -> None:
        second = await sign_in(Role.ADMIN)

        answers = await asyncio.gather(
            admin.http.patch(f"/users/{second.id}", json={"role": "user"}),
            second.http.patch(f"/users/{admin.id}", json={"role": "user"}),
        )

        assert sorted(each.status_code for each in answers) in ([200, 403], [200, 409])

    async def test_says_when_it_was_changed_meanwhile(self, admin: SignedIn, maker: SignedIn) -> None:
        seen = (await admin.http.get(f"/users/{maker.id}")).headers["ETag"]
        await admin.http.patch(f"/users/{maker.id}", json={"role": "user"})

        late = await admin.http.patch(
            f"/users/{maker.id}", json={"is_active": False}, headers={"If-Match": seen}
        )

        assert late.status_code == 412

    async def test_of_nobody_is_404(self, admin: SignedIn) -> None:
        answers = [
            await admin.http.get(f"/users/{NOBODY}"),
            await admin.http.patch(f"/users/{NOBODY}", json={"role": "user"}),
            await admin.http.post(f"/users/{NOBODY}/password-reset"),
        ]

        assert {each.status_code for each in answers} == {404}
