import asyncio
from typing import Any

import httpx2
import pytest

from api_server.settings import Settings
from platform_kit.contract.access import Role
from platform_kit.plumbing.object_store import ObjectStore
from tests.api_server.conftest import SignIn
from tests.api_server.factories import CSV, SignedIn, Worker, new_model, upload
from tests.api_server.projects.crew import add, new_key, new_project


@pytest.fixture
async def project_id(maker: SignedIn) -> str:
    return await new_project(maker)


@pytest.fixture
async def admin(sign_in: SignIn) -> SignedIn:
    return await sign_in(Role.ADMIN)


async def allow(admin: SignedIn, project_id: str, **quotas: int) -> dict[str, Any]:
    answer = await admin.http.put(f"/projects/{project_id}/quotas", json=quotas)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def usage(who: SignedIn, project_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await who.http.get(f"/projects/{project_id}/usage")).json()
    return found


async def send(who: SignedIn, project_id: str, content: bytes = CSV) -> httpx2.Response:
    form = {"name": "d", "project_id": project_id}
    return await who.http.post("/datasets", data=form, files={"file": ("a.csv", content)})


async def try_model(who: SignedIn, project_id: str, name: str, **fields: Any) -> httpx2.Response:
    body = {"model_type": "classification", "framework": "lightgbm", "project_id": project_id, **fields}
    return await who.http.post("/models", json={"name": name, **body})


class TestUsage:
    async def test_counts_what_is_there(
        self, maker: SignedIn, other: SignedIn, project_id: str, settings: Settings
    ) -> None:
        dataset = await upload(maker, project_id=project_id)
        files = {"file": ("a.csv", CSV + b"1,x,yes\n")}
        await maker.http.post(f"/datasets/{dataset['id']}/versions", files=files)
        await new_model(maker, dataset_id=dataset["id"])
        await new_model(maker, project_id=project_id)
        await add(maker, project_id, other)

        assert await usage(other, project_id) == {
            "dataset_bytes": {"used": 2 * len(CSV) + 8, "limit": settings.quota_dataset_bytes},
            "models": {"used": 2, "limit": settings.quota_models},
            "jobs_at_once": {"used": 1, "limit": settings.quota_jobs_at_once},
        }

    async def test_is_for_members(self, other: SignedIn, project_id: str) -> None:
        assert (await other.http.get(f"/projects/{project_id}/usage")).status_code == 404


class TestSetQuotas:
    async def test_is_for_administrators_in_person(
        self, maker: SignedIn, admin: SignedIn, client: httpx2.AsyncClient, project_id: str
    ) -> None:
        url, key = f"/projects/{project_id}/quotas", await new_key(admin, "write")

        owner = await maker.http.put(url, json={"models": 1})
        by_key = await client.put(url, json={"models": 1}, headers=key)

        assert (owner.status_code, owner.json()["code"]) == (403, "role_missing")
        assert (by_key.status_code, by_key.json()["code"]) == (403, "session_needed")

    async def test_replaces_all_of_them(
        self, maker: SignedIn, admin: SignedIn, project_id: str, settings: Settings
    ) -> None:
        await allow(admin, project_id, models=3, dataset_bytes=10)

        found = await allow(admin, project_id, models=0)

        assert found == await usage(maker, project_id)
        limits = {name: each["limit"] for name, each in found.items()}
        assert limits == {
            "models": 0,
            "dataset_bytes": settings.quota_dataset_bytes,
            "jobs_at_once": settings.quota_jobs_at_once,
        }

    @pytest.mark.parametrize(
        "body", [{"models": -1}, {"models": "3"}, {"model": 3}, {"dataset_bytes": 2**63}]
    )
    async def test_wants_whole_numbers(
        self, admin: SignedIn, project_id: str, body: dict[str, object]
    ) -> None:
        assert (await admin.http.put(f"/projects/{project_id}/quotas", json=body)).status_code == 422


class TestModels:
    async def test_end_at_the_quota_also_for_many_at_once(
        self, maker: SignedIn, admin: SignedIn, project_id: str
    ) -> None:
        await new_model(maker, project_id=project_id)
        await allow(admin, project_id, models=2)

        answers = await asyncio.gather(*(try_model(maker, project_id, f"m{n}") for n in range(16)))

        assert sorted(each.status_code for each in answers) == [201] + [409] * 15
        refused = next(each.json() for each in answers if each.status_code == 409)
        assert refused["code"] == "quota_exceeded"
        assert "2 models of the 2" in refused["detail"]
        assert "delete one" in refused["detail"]
        assert (await usage(maker, project_id))["models"] == {"used": 2, "limit": 2}

    async def test_may_be_made_again_once_one_is_gone(
        self, maker: SignedIn, admin: SignedIn, project_id: str
    ) -> None:
        model = await new_model(maker, project_id=project_id)
        await allow(admin, project_id, models=1)
        full = await try_model(maker, project_id, "m")

        await maker.http.delete(f"/models/{model['id']}")

        assert (full.status_code, (await try_model(maker, project_id, "m")).status_code) == (409, 201)

    async def test_of_one_project_take_nothing_from_another(
        self, maker: SignedIn, admin: SignedIn, project_id: str
    ) -> None:
        await allow(admin, project_id, models=0)
        second = await new_project(maker, "second")

        assert (await try_model(maker, second, "m")).status_code == 201


class TestDatasetBytes:
    async def test_end_at_the_quota_also_for_many_at_once(
        self, maker: SignedIn, admin: SignedIn, project_id: str, settings: Settings
    ) -> None:
        store = ObjectStore.from_settings(settings)
        await allow(admin, project_id, dataset_bytes=2 * len(CSV) - 1)
        before = set(store.list_keys("datasets/"))

        answers = await asyncio.gather(*(send(maker, project_id) for _ in range(16)))

        assert sorted(each.status_code for each in answers) == [201] + [409] * 15
        refused = next(each.json() for each in answers if each.status_code == 409)
        assert refused["code"] == "quota_exceeded"
        assert f"{len(CSV)} of {2 * len(CSV) - 1} bytes" in refused["detail"]
        assert (await usage(maker, project_id))["dataset_bytes"]["used"] == len(CSV)
        assert len(set(store.list_keys("datasets/")) - before) == 1

    async def test_count_versions_and_not_the_same_bytes_again(
        self, maker: SignedIn, admin: SignedIn, project_id: str
    ) -> None:
        dataset = await upload(maker, project_id=project_id)
        await allow(admin, project_id, dataset_bytes=len(CSV))
        url = f"/datasets/{dataset['id']}/versions"

        more = await maker.http.post(url, files={"file": ("a.csv", CSV + b"1,x,no\n")})
        same = await maker.http.post(url, files={"file": ("a.csv", CSV)})

        assert (more.status_code, more.json()["code"], same.status_code) == (409, "quota_exceeded", 200)

    async def test_full_still_answer_a_repeated_request(
        self, maker: SignedIn, admin: SignedIn, project_id: str
    ) -> None:
        maker.http.headers["Idempotency-Key"] = "k"
        first = await send(maker, project_id)
        await allow(admin, project_id, dataset_bytes=0)

        again = await send(maker, project_id)

        assert (again.status_code, again.json()) == (201, first.json())


class TestJobsAtOnce:
    async def test_end_at_the_quota_also_for_many_at_once(
        self, maker: SignedIn, admin: SignedIn, project_id: str, worker: Worker
    ) -> None:
        dataset = await upload(maker, project_id=project_id)
        await worker.profile(dataset["job_id"])
        await new_model(maker, dataset_id=dataset["id"])
        await allow(admin, project_id, jobs_at_once=2)

        answers = await asyncio.gather(
            *(try_model(maker, project_id, f"m{n}", dataset_id=dataset["id"]) for n in range(16))
        )

        assert sorted(each.status_code for each in answers) == [201] + [429] * 15
        refused = next(each for each in answers if each.status_code == 429)
        assert (refused.json()["code"], refused.headers["Retry-After"]) == ("too_many_jobs", "10")
        assert "2 jobs of the project" in refused.json()["detail"]
        assert (await usage(maker, project_id))["models"]["used"] == 2

    async def test_may_go_on_when_one_is_over(
        self, maker: SignedIn, admin: SignedIn, project_id: str, worker: Worker
    ) -> None:
        dataset = await upload(maker, project_id=project_id)
        await worker.profile(dataset["job_id"])
        model = await new_model(maker, dataset_id=dataset["id"])
        await allow(admin, project_id, jobs_at_once=1)
        url = f"/models/{model['id']}/train"
        full = await maker.http.post(url, json={})

        await worker.train(model["job_id"])

        assert (full.status_code, (await maker.http.post(url, json={})).status_code) == (429, 202)

    async def test_do_not_count_the_profiling_of_datasets(
        self, maker: SignedIn, admin: SignedIn, project_id: str
    ) -> None:
        await allow(admin, project_id, jobs_at_once=0)

        assert (await send(maker, project_id)).status_code == 201

    async def test_and_versions_of_its_dataset_at_once_do_not_wait_for_each_other_forever(
        self, maker: SignedIn, project_id: str, worker: Worker
    ) -> None:
        dataset = await upload(maker, project_id=project_id)
        await worker.profile(dataset["job_id"])
        url = f"/datasets/{dataset['id']}/versions"

        answers = await asyncio.gather(
            *(try_model(maker, project_id, f"m{n}", dataset_id=dataset["id"]) for n in range(8)),
            *(maker.http.post(url, files={"file": ("a.csv", CSV + b"%d,x,no\n" % n)}) for n in range(8)),
        )

        assert {each.status_code for each in answers} == {201}
