"""What every client may rely on: keys, pages, tags, ids, slashes, events."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.verify.calling import Caller
from tests.verify.loop import FLIGHTS, Json, body_of, finished_job, new_model
from tests.verify.registry import expect_problem, expect_status
from tests.verify.scene import Scene
from tests.verify.serving import DEMO_ROW

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": secrets.token_hex(8)}


class TestIdempotencyKey:
    def test_a_repeated_upload_makes_one_data_set(self, maker: Caller, key: dict[str, str]) -> None:
        sent = {
            "data": {"name": "once"},
            "files": {"file": ("flights.csv", FLIGHTS.read_bytes())},
            "headers": key,
        }

        first, second = (expect_status(maker.api("POST", "/datasets", **sent), 201) for _ in range(2))

        assert first["id"] == second["id"]
        assert body_of(maker.api("GET", f"/datasets/{first['id']}/versions"))["total"] == 1
        assert maker.api("GET", f"/datasets/{first['id']}/download").content == FLIGHTS.read_bytes()

    def test_a_repeated_training_makes_one_job(
        self, scene: Scene, maker: Caller, key: dict[str, str]
    ) -> None:
        body = {"name": "repeated", "model_type": "classification", "framework": "xgboost"}
        model = body_of(maker.api("POST", "/models", json=body))
        wish = {"dataset_id": scene.flights["id"], "target": "arrival", "parameters": {"n_estimators": 5}}

        path = f"/models/{model['id']}/train"
        jobs = [expect_status(maker.api("POST", path, json=wish, headers=key), 202) for _ in range(2)]

        assert jobs[0]["id"] == jobs[1]["id"]
        finished_job(maker, jobs[0]["id"])
        assert body_of(maker.api("GET", f"/models/{model['id']}/versions"))["total"] == 1

    def test_another_body_is_refused(self, maker: Caller, key: dict[str, str]) -> None:
        expect_status(maker.api("POST", "/projects", json={"name": "keyed"}, headers=key), 201)

        expect_problem(maker.api("POST", "/projects", json={"name": "keyed otherwise"}, headers=key), 422)

    def test_a_key_is_its_users_own(self, scene: Scene, maker: Caller, key: dict[str, str]) -> None:
        mine = expect_status(maker.api("POST", "/projects", json={"name": "same key"}, headers=key), 201)
        theirs = expect_status(
            scene.stranger.api("POST", "/projects", json={"name": "same key"}, headers=key), 201
        )

        assert mine["id"] != theirs["id"]

    def test_a_crowd_of_equal_requests_has_one_effect(self, maker: Caller, key: dict[str, str]) -> None:
        def ask(_: int) -> httpx2.Response:
            return maker.api("POST", "/projects", json={"name": "crowd"}, headers=key)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(16)))

        assert {each.status_code for each in answers} <= {201, 409}
        made = {each.json()["id"] for each in answers if each.status_code == 201}
        assert len(made) == 1
        assert all(each.json()["code"] == "request_in_flight" for each in answers if each.status_code == 409)


class TestETag:
    def test_a_change_with_an_old_tag_is_refused(self, maker: Caller) -> None:
        made = maker.api("POST", "/projects", json={"name": "tagged"})
        path, tag = f"/projects/{made.json()['id']}", {"If-Match": made.headers["etag"]}

        changed = maker.api("PATCH", path, json={"description": "one"}, headers=tag)

        assert changed.status_code == 200
        assert changed.headers["etag"] != made.headers["etag"]
        expect_problem(maker.api("PATCH", path, json={"description": "two"}, headers=tag), 412)
        expect_problem(maker.api("DELETE", path, headers=tag), 412)
        assert body_of(maker.api("GET", path))["description"] == "one"

    def test_two_at_once_cannot_both_change_the_same_state(self, maker: Caller) -> None:
        made = maker.api("POST", "/projects", json={"name": "contested"})
        path, tag = f"/projects/{made.json()['id']}", {"If-Match": made.headers["etag"]}

        def change(number: int) -> int:
            return maker.api("PATCH", path, json={"description": f"by {number}"}, headers=tag).status_code

        with ThreadPoolExecutor(6) as pool:
            statuses = sorted(pool.map(change, range(6)))

        assert statuses == [200, 412, 412, 412, 412, 412]


class TestRequests:
    @pytest.mark.parametrize(
        "path", ["/projects", "/datasets", "/models", "/jobs", "/deployments", "/endpoints"]
    )
    def test_a_trailing_slash_makes_no_difference(self, maker: Caller, path: str) -> None:
        plain, slashed = maker.api("GET", path), maker.api("GET", f"{path}/")

        assert (plain.status_code, slashed.status_code) == (200, 200)
        assert slashed.json() == plain.json()

    def test_a_trailing_slash_loses_no_body(self, maker: Caller) -> None:
        expect_status(maker.api("POST", "/projects/", json={"name": "slashed"}), 201)
        expect_status(maker.ml("POST", "/predict/demo_model_1/", json={"input_data": DEMO_ROW}), 200)

    def test_a_badly_formed_request_id_is_replaced(self, scene: Scene) -> None:
        for sent in ("has blanks in it", "x" * 200, "<script>"):
            got = scene.nobody.api("GET", "//health", headers={"X-Request-ID": sent}).headers["x-request-id"]
            assert got != sent
            assert len(got) >= 16


class TestLists:
    def test_sorting_and_limits(self, maker: Caller) -> None:
        items = body_of(maker.api("GET", "/projects", params={"sort": "name", "limit": 200}))["items"]

        names = [each["name"] for each in items]
        assert len(names) > 3
        assert names == sorted(names)
        for limit in (0, 201, "many"):
            expect_problem(maker.api("GET", "/projects", params={"limit": limit}), 422)
        expect_problem(maker.api("GET", "/projects", params={"cursor": "made-up"}), 422)

    def test_an_insertion_does_not_shift_the_pages(self, scene: Scene) -> None:
        caller = scene.newcomer()
        for number in range(4):
            body_of(caller.api("POST", "/projects", json={"name": f"before {number}"}))
        first = body_of(caller.api("GET", "/projects", params={"limit": 2}))
        body_of(caller.api("POST", "/projects", json={"name": "in between"}))

        second = body_of(caller.api("GET", "/projects", params={"limit": 2, "cursor": first["next_cursor"]}))

        ids = [each["id"] for page in (first, second) for each in page["items"]]
        assert len(set(ids)) == 4
        assert "in between" not in [each["name"] for each in second["items"]]


@pytest.fixture(scope="module")
def job(scene: Scene) -> Json:
    model = new_model(scene.maker, scene.flights["id"], name="followed")
    return finished_job(scene.maker, model["job_id"])


class TestEvents:
    def test_the_stream_tells_states_and_progress_and_ends(self, maker: Caller, job: Json) -> None:
        events = _events(maker, job["id"])

        states = [each.json()["status"] for each in events if each.event == "state"]  # type: ignore[index]
        assert states == ["queued", "running", "succeeded"]
        assert sum(each.event == "progress" for each in events) >= 3
        ids = [int(each.id) for each in events]
        assert ids == sorted(set(ids))

    def test_it_resumes_after_the_last_event_that_was_seen(self, maker: Caller, job: Json) -> None:
        everything = _events(maker, job["id"])
        middle = everything[len(everything) // 2].id

        rest = _events(maker, job["id"], last_id=middle)

        assert [each.id for each in rest] == [each.id for each in everything if int(each.id) > int(middle)]

    def test_it_is_for_those_who_may_see_the_job(self, scene: Scene, job: Json) -> None:
        expect_problem(scene.stranger.api("GET", f"/jobs/{job['id']}/events"), 404)
        expect_problem(scene.nobody.api("GET", f"/jobs/{job['id']}/events"), 401)


def _events(caller: Caller, job_id: str, *, last_id: str = "0") -> list[httpx2.ServerSentEvent]:
    headers = {**caller.authorization(), "Last-Event-ID": last_id}
    url = f"{caller.api_url}/api/v1/jobs/{job_id}/events"
    with caller.http.stream("GET", url, headers=headers) as response:
        return list(httpx2.EventSource(response))
