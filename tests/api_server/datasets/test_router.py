import hashlib
from typing import Any

import httpx2
import pytest

from api_server.settings import Settings
from platform_kit.contract.access import Role
from platform_kit.contract.jobs import Outcome
from platform_kit.plumbing.object_store import ObjectStore
from tests.api_server.conftest import SignIn
from tests.api_server.factories import CSV, SignedIn, Worker, failure, new_model, profile_result, upload

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return ObjectStore.from_settings(settings)


def keys(store: ObjectStore) -> set[str]:
    return set(store.list_keys("datasets/"))


async def send(who: SignedIn, content: bytes, *, name: str = "a.csv", **fields: str) -> httpx2.Response:
    return await who.http.post("/datasets", data={"name": "d", **fields}, files={"file": (name, content)})


class TestCreate:
    async def test_keeps_the_bytes_and_starts_a_profile(self, maker: SignedIn) -> None:
        answer = await send(maker, CSV, tags="a, b", description="people")

        body = answer.json()
        assert answer.status_code == 201
        assert answer.headers["Location"] == f"/api/v1/datasets/{body['id']}"
        assert (body["status"], body["version"], body["file_type"], body["file_size"]) == (
            "pending",
            1,
            "csv",
            len(CSV),
        )
        assert body["digest"] == hashlib.sha256(CSV).hexdigest()
        assert (body["tags"], body["error"], body["schema"], body["statistics"]) == (
            ["a", "b"],
            None,
            None,
            None,
        )
        job = (await maker.http.get(f"/jobs/{body['job_id']}")).json()
        assert (job["kind"], job["status"], job["project_id"]) == ("profile", "queued", body["project_id"])

    async def test_streams_a_file_of_several_parts(self, maker: SignedIn, store: ObjectStore) -> None:
        content = b"n\n" + b"1234567\n" * (5 * 2**20)

        body = (await send(maker, content)).json()

        downloaded = await maker.http.get(f"/datasets/{body['id']}/download")
        assert body["file_size"] == len(content) == len(downloaded.content)
        assert hashlib.sha256(downloaded.content).hexdigest() == body["digest"]

    async def test_takes_the_fields_in_any_order(self, maker: SignedIn) -> None:
        boundary = "x" * 20
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'.encode()
            + CSV,
            f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\nlate'.encode(),
        ]
        body = b"\r\n".join(parts) + f"\r\n--{boundary}--\r\n".encode()

        answer = await maker.http.post(
            "/datasets", content=body, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"}
        )

        assert (answer.status_code, answer.json()["name"]) == (201, "late")

    @pytest.mark.parametrize(
        ("content", "name", "status", "code"),
        [
            (b"", "a.csv", 422, "empty_file"),
            (b"\x89PNG\r\n\x1a\n0000000000", "a.csv", 415, "format_not_accepted"),
            (b"\x89PNG\r\n\x1a\n0000000000", "a.png", 415, "format_not_accepted"),
            (b"\x80\x04\x95hello, pickle!!", "a.csv", 415, "format_not_accepted"),
            (b"a,b\n1,2\n", "a.parquet", 415, "format_not_accepted"),
        ],
    )
    async def test_refuses_at_once_what_needs_no_reading(
        self, maker: SignedIn, store: ObjectStore, content: bytes, name: str, status: int, code: str
    ) -> None:
        before = keys(store)

        answer = await send(maker, content, name=name)

        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await maker.http.get("/datasets")).json()["total"] == 0
        assert keys(store) == before

    @pytest.mark.parametrize(
        ("form", "field"),
        [
            ({}, "name"),
            ({"name": ""}, "name"),
            ({"name": "x", "owner_id": UNKNOWN}, "owner_id"),
            ({"name": "x", "project_id": "no uuid"}, "project_id"),
            ({"name": "x" * 201}, "name"),
        ],
    )
    async def test_names_each_form_field_that_is_wrong(
        self, maker: SignedIn, store: ObjectStore, form: dict[str, str], field: str
    ) -> None:
        before = keys(store)

        answer = await maker.http.post("/datasets", data=form, files={"file": ("a.csv", CSV)})

        assert answer.status_code == 422
        assert [each["field"] for each in answer.json()["errors"]] == [field]
        assert keys(store) == before

    async def test_wants_a_form_with_a_file(self, maker: SignedIn) -> None:
        as_json = await maker.http.post("/datasets", json={"name": "x"})
        without = await maker.http.post("/datasets", data={"name": "x"}, files={"other": ("a.csv", CSV)})
        cut_off = await maker.http.post(
            "/datasets",
            content=b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\na,b\n1',
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )

        assert (as_json.status_code, as_json.json()["code"]) == (415, "not_a_form")
        assert (without.status_code, without.json()["errors"][0]["field"]) == (422, "other")
        assert (cut_off.status_code, cut_off.json()["code"]) == (400, "upload_broken")

    async def test_keeps_to_who_may(
        self, maker: SignedIn, other: SignedIn, sign_in: SignIn, client: Any
    ) -> None:
        project = (await maker.http.post("/projects", json={"name": "mine"})).json()["id"]
        reader = await sign_in(Role.USER)

        assert (await client.post("/datasets", files={"file": ("a.csv", CSV)})).status_code == 401
        assert (await send(reader, CSV)).status_code == 403
        assert (await send(other, CSV, project_id=project)).status_code == 404
        assert (await send(maker, CSV, project_id=project)).json()["project_id"] == project

    async def test_repeated_with_a_key_is_one_dataset(self, maker: SignedIn, store: ObjectStore) -> None:
        maker.http.headers["Idempotency-Key"] = "once"
        first = await send(maker, CSV)
        stored = keys(store)

        again, different = await send(maker, CSV), await send(maker, CSV + b"1,x,yes\n")

        assert again.status_code == 201
        assert again.json() == first.json()
        assert (different.status_code, different.json()["code"]) == (422, "idempotency_key_reused")
        assert (await maker.http.get("/datasets")).json()["total"] == 1
        assert keys(store) == stored


class TestProfile:
    async def test_is_there_once_the_job_is_done(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await upload(maker)
        early = await maker.http.get(f"/datasets/{dataset['id']}/profile")
        await worker.profile(dataset["job_id"])

        ready = (await maker.http.get(f"/datasets/{dataset['id']}")).json()
        profile = (await maker.http.get(f"/datasets/{dataset['id']}/profile")).json()
        preview = (await maker.http.get(f"/datasets/{dataset['id']}/versions/1/preview")).json()

        assert (early.status_code, early.json()["code"]) == (409, "dataset_not_ready")
        assert ready["status"] == "ready"
        assert ready["schema"][0] == {"name": "age", "type": "integer", "nullable": False}
        assert ready["statistics"]["row_count"] == 3
        assert profile["statistics"]["columns"]["city"]["categories"][0] == {"value": "lyon", "count": 2}
        assert preview["rows"] == [{"age": 31, "city": "lyon", "target": "yes"}]

    async def test_of_a_rejected_file_says_why(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await upload(maker)
        claim = await worker.claim(dataset["job_id"])
        await worker.finish(claim, Outcome.FAILED, error=failure("no_rows", "There are no rows.", status=422))

        found = (await maker.http.get(f"/datasets/{dataset['id']}")).json()
        answer = await maker.http.get(f"/datasets/{dataset['id']}/profile")

        assert (found["status"], found["error"]["code"]) == ("rejected", "no_rows")
        assert "There are no rows." in answer.json()["detail"]


class TestVersions:
    async def test_number_new_bytes_and_know_the_old_ones(self, maker: SignedIn) -> None:
        dataset = await upload(maker)
        url = f"/datasets/{dataset['id']}/versions"

        new = await maker.http.post(url, files={"file": ("b.csv", CSV + b"50,paris,no\n")})
        same = await maker.http.post(url, files={"file": ("c.csv", CSV)})

        assert (new.status_code, new.json()["version"]) == (201, 2)
        assert (same.status_code, same.json()["version"]) == (200, 1)
        assert [each["version"] for each in (await maker.http.get(url)).json()["items"]] == [2, 1]
        assert (await maker.http.get(f"/datasets/{dataset['id']}")).json()["version"] == 2
        assert (await maker.http.get(f"{url}/3")).json()["code"] == "dataset_version_not_found"

    @pytest.mark.parametrize("number", [0, -1, 2**31, 2**63, 10**30])
    @pytest.mark.parametrize("what", ["", "/profile", "/preview", "/download"])
    async def test_have_numbers_that_can_be_kept(self, maker: SignedIn, what: str, number: int) -> None:
        dataset_id = (await upload(maker))["id"]

        answer = await maker.http.get(f"/datasets/{dataset_id}/versions/{number}{what}")

        assert answer.status_code == 422
        assert [each["code"] for each in answer.json()["errors"]] == ["out_of_range"]

    async def test_of_a_foreign_dataset_are_not_found(self, maker: SignedIn, other: SignedIn) -> None:
        dataset = await upload(maker)

        answer = await other.http.post(
            f"/datasets/{dataset['id']}/versions", files={"file": ("b.csv", b"a\n1\n")}
        )

        assert answer.status_code == 404
        assert (await maker.http.get(f"/datasets/{dataset['id']}")).json()["version"] == 1


class TestForeign:
    @pytest.mark.parametrize("tail", ["", "/versions", "/versions/1", "/profile", "/preview", "/download"])
    async def test_is_not_found_and_anonymous_not_signed_in(
        self, maker: SignedIn, other: SignedIn, client: httpx2.AsyncClient, tail: str
    ) -> None:
        dataset = await upload(maker)

        foreign = await other.http.get(f"/datasets/{dataset['id']}{tail}")
        unknown = await other.http.get(f"/datasets/{UNKNOWN}{tail}")

        assert foreign.status_code == unknown.status_code == 404
        assert foreign.json()["detail"] == unknown.json()["detail"]
        assert (await client.get(f"/datasets/{dataset['id']}{tail}")).status_code == 401


class TestDownload:
    async def test_gives_a_name_that_cannot_break_out(self, maker: SignedIn) -> None:
        dataset = await upload(maker, name='a"\u202e b.csv')

        headers = (await maker.http.get(f"/datasets/{dataset['id']}/download")).headers

        assert headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
        assert not set(headers["content-disposition"]) & set('"\r\n\u202e')
        assert headers["x-content-type-options"] == "nosniff"


class TestChange:
    async def test_is_refused_when_somebody_was_faster(self, maker: SignedIn) -> None:
        dataset = await upload(maker)
        seen = (await maker.http.get(f"/datasets/{dataset['id']}")).headers["ETag"]
        url, condition = f"/datasets/{dataset['id']}", {"If-Match": seen}

        first = await maker.http.patch(url, json={"description": "new"}, headers=condition)
        second = await maker.http.patch(url, json={"description": "newer"}, headers=condition)

        assert (first.status_code, first.json()["description"]) == (200, "new")
        assert first.headers["ETag"] != seen
        assert (second.status_code, second.json()["code"]) == (412, "changed_meanwhile")


class TestDelete:
    async def test_takes_the_files_along(self, maker: SignedIn, store: ObjectStore) -> None:
        before = keys(store)
        dataset = await upload(maker)

        answer = await maker.http.delete(f"/datasets/{dataset['id']}")

        assert answer.status_code == 204
        assert (await maker.http.get(f"/datasets/{dataset['id']}")).status_code == 404
        assert keys(store) == before

    async def test_refuses_while_a_version_was_trained_on_it(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await upload(maker)
        await worker.profile(dataset["job_id"])
        model = await new_model(maker, dataset_id=dataset["id"])
        await worker.train(model["job_id"])

        answer = await maker.http.delete(f"/datasets/{dataset['id']}")

        assert (answer.status_code, answer.json()["code"]) == (409, "dataset_in_use")

    async def test_during_its_profile_cancels_the_job(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await upload(maker)
        claim = await worker.claim(dataset["job_id"])
        await maker.http.delete(f"/datasets/{dataset['id']}")

        late = await worker.try_finish(claim, Outcome.SUCCEEDED, result=profile_result())

        assert late.status_code == 422
        assert await worker.finish(claim, Outcome.FAILED, error=failure("result_refused")) == "cancelled"


class TestList:
    async def test_filters_and_pages(self, maker: SignedIn) -> None:
        for number in range(5):
            await upload(
                maker,
                name=f"{number}.csv",
                tags="even" if number % 2 == 0 else "odd",
                description=f"no {number}",
            )

        even = (await maker.http.get("/datasets", params={"tag": "even", "limit": 2})).json()
        rest = (
            await maker.http.get("/datasets", params={"tag": "even", "cursor": even["next_cursor"]})
        ).json()
        found = (await maker.http.get("/datasets", params={"q": "NO 3"})).json()

        assert [each["description"] for each in even["items"] + rest["items"]] == ["no 4", "no 2", "no 0"]
        assert (even["total"], rest["next_cursor"]) == (3, None)
        assert [each["file_name"] for each in found["items"]] == ["3.csv"]
