"""Both ways through the service give the same answers, say the same about them and count the same."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from ml_service.serving.fast_lane import MOST_BYTES
from ml_service.settings import Settings
from platform_kit.contract.access import Scope as KeyScope
from platform_kit.contract.serving import ModelLookup, ServedVersion
from tests.ml_service.peer import Peer
from tests.ml_service.serving.calling import KEY, OWNER, ROW, STRANGER, ControlPlane, until
from tests.ml_service.serving.door import JSON, UNUSUAL, Answer, Door, opened
from tests.ml_service.serving.publishing import PROJECT
from tests.ml_service.serving.watching import watch

OWN = ("x-request-id", "content-length", "ratelimit-remaining", "ratelimit-reset")
"""Headers that differ from request to request."""


@pytest.fixture
def limited(settings: Settings, cached_demos: None) -> Settings:
    return settings.model_copy(
        update={"predict_rate_limit_address": "1000/hour", "predict_rate_limit_principal": "900/hour"}
    )


@pytest.fixture
async def door(limited: Settings, control: ControlPlane, churn: ServedVersion) -> AsyncIterator[Door]:
    """Serves `churn`; the owner was asked about a moment ago."""
    control.change(active=[churn])
    control.knows_key(scopes=[KeyScope.PREDICT])
    async with opened(limited) as door:
        await until(lambda: len(door.parts.directory.deployed) == 1)
        for headers in (OWNER, KEY):
            await door.post("/predict/churn", body(feature1=77), headers=headers)
        yield door


def body(**change: Any) -> bytes:
    options = {
        name: change.pop(name) for name in ("use_cache", "explain", "return_probabilities") if name in change
    }
    return json.dumps({"input_data": {**ROW, **change}, **options}).encode()


def without_own(answer: Answer) -> tuple[int, dict[str, list[str]], dict[str, Any]]:
    headers = {name: values for name, values in answer.headers.items() if name not in OWN}
    own = ("processing_time", "timestamp", "prediction_id", "request_id")
    return answer.status, headers, {name: value for name, value in answer.body.items() if name not in own}


def counts() -> dict[str, float]:
    """Everything that this process counts about requests."""
    names = ("http_request", "mlp_prediction", "mlp_rate", "mlp_access")
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name.startswith(names) and sample.name.endswith(("_total", "_count"))
    }


async def stats(door: Door, headers: dict[str, str]) -> dict[str, Any]:
    """Without times."""
    found = (await door.post("/stats", b"", headers=headers, method="GET")).body
    kept = ("total_requests", "succeeded", "refused", "failed", "total_rows")
    return {
        name: {key: each[key] for key in kept}
        | {"cached": round(each["cache_hit_rate"] * each["total_rows"])}
        for name, each in [("global", found["global"]), *found["models"].items()]
    }


def growth(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {
        name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)
    }


def stats_growth(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {name: growth(before.get(name, {}), each) for name, each in after.items()}


@dataclass
class Seen:
    """What one request left behind."""

    answer: Answer
    counted: dict[str, float]
    in_stats: dict[str, Any]


async def seen(door: Door, path: str, raw: bytes, headers: dict[str, str], content_type: str) -> Seen:
    stats_before, before = await stats(door, OWNER), counts()
    answer = await door.post(path, raw, headers=headers, content_type=content_type)
    after, stats_after = counts(), await stats(door, OWNER)
    return Seen(answer, growth(before, after), stats_growth(stats_before, stats_after))


ORDINARY: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "a demo model": ("demo_model_1", body(), {}),
    "a demo model, by somebody who is known": ("demo_model_2", body(), OWNER),
    "a known caller": ("churn", body(return_probabilities=True), OWNER),
    "by the model's id": (str(UUID(int=1)), body(), OWNER),
    "by a name in capitals": ("CHURN", body(), OWNER),
    "an API key": ("churn", body(), KEY),
    "without the cache": ("churn", body(use_cache=False), OWNER),
}
LEFT_TO_THE_ROUTES: dict[str, tuple[str, bytes, dict[str, str], int]] = {
    "a wrong type": ("churn", body(feature1="x"), OWNER, 422),
    "an unknown option": ("churn", b'{"input_data": {}, "explian": true}', OWNER, 422),
    "no JSON": ("churn", b"{", OWNER, 400),
    "nothing": ("churn", b"", OWNER, 400),
    "a key twice": ("demo_model_1", b'{"input_data": {}, "input_data": {}}', {}, 422),
    "an explanation": ("churn", body(explain=True), OWNER, 200),
    "a stranger": ("churn", body(), STRANGER, 404),
    "nobody": ("churn", body(), {}, 401),
    "nobody we know": ("churn", body(), {"Authorization": "Bearer what"}, 401),
    "no credential at all": ("churn", body(), {"Authorization": "Basic abc"}, 401),
    "an unknown model": ("nothing", body(), OWNER, 404),
    "another method's path": ("churn/other", body(), OWNER, 404),
}


class TestBothWays:
    @pytest.mark.parametrize("case", ORDINARY.values(), ids=list(ORDINARY))
    async def test_of_an_ordinary_request_say_and_count_the_same(
        self, door: Door, case: tuple[str, bytes, dict[str, str]]
    ) -> None:
        model, raw, headers = case
        await door.post(f"/predict/{model}", raw, headers=headers)  # known from now on

        quick = await seen(door, f"/predict/{model}", raw, headers, JSON)
        other = await seen(door, f"/predict/{model}", raw, headers, UNUSUAL)

        assert (quick.answer.came_to_the_routes, other.answer.came_to_the_routes) == (False, True)
        assert quick.answer.status == 200
        assert without_own(quick.answer) == without_own(other.answer)
        assert quick.counted == other.counted
        assert quick.in_stats == other.in_stats
        assert [
            value for name, value in quick.counted.items() if name.startswith("mlp_predictions_total")
        ] == [1]
        assert [value for name, value in quick.counted.items() if name.startswith("http_requests_total")] == [
            1
        ]
        assert quick.in_stats["global"]["succeeded"] == 1

    @pytest.mark.parametrize("case", LEFT_TO_THE_ROUTES.values(), ids=list(LEFT_TO_THE_ROUTES))
    async def test_of_any_other_request_are_one(
        self, door: Door, case: tuple[str, bytes, dict[str, str], int]
    ) -> None:
        model, raw, headers, status = case
        await door.post(f"/predict/{model}", raw, headers=headers)

        one = await seen(door, f"/predict/{model}", raw, headers, JSON)
        other = await seen(door, f"/predict/{model}", raw, headers, UNUSUAL)

        assert (one.answer.status, one.answer.came_to_the_routes) == (status, True)
        assert without_own(one.answer) == without_own(other.answer)
        assert one.counted == other.counted
        assert one.in_stats == other.in_stats

    async def test_apply_the_options_of_the_deployment(
        self, door: Door, control: ControlPlane, churn: ServedVersion
    ) -> None:
        config = {
            "labels": {"0": "stays", "1": "leaves"},
            "abstain_below": 0.95,
            "abstain_answer": "?",
            "decimals": 2,
            "output_name": "says",
            "on_unknown_field": "warn",
        }
        control.change(active=[churn.model_copy(update={"config": config})])
        await until(lambda: door.parts.directory.deployed[0].config == config)
        seen_ways = set()
        for change in ({}, {"feature1": 9}, {"feature1": -9}, {"other": 1}):
            answers = [
                await door.post(
                    "/predict/churn",
                    body(**change, return_probabilities=True, use_cache=False),
                    headers=OWNER,
                    content_type=kind,
                )
                for kind in (JSON, UNUSUAL)
            ]
            assert without_own(answers[0]) == without_own(answers[1])
            assert answers[0].status == 200
            assert answers[0].came_to_the_routes == ("other" in change)
            seen_ways.add((answers[0].body["prediction"], len(answers[0].body["metadata"]["warnings"])))
        assert {prediction for prediction, _ in seen_ways} <= {"stays", "leaves", "?"}
        assert {warnings for _, warnings in seen_ways} == {0, 1}

    async def test_refuse_a_key_that_is_not_for_predictions(self, door: Door, control: ControlPlane) -> None:
        control.callers["reader"] = control.callers["key"].model_copy(update={"scopes": [KeyScope.READ]})
        headers = {"X-API-Key": "reader"}

        answers = [
            await door.post("/predict/churn", body(), headers=headers, content_type=each)
            for each in (JSON, UNUSUAL)
        ]

        assert [each.status for each in answers] == [403, 403]
        assert without_own(answers[0]) == without_own(answers[1])

    async def test_say_that_a_model_is_not_deployed(self, door: Door, peer: Peer) -> None:
        lookup = ModelLookup(
            model_id=UUID(int=5), name="idle", endpoint="idle", project_id=PROJECT, status="trained"
        )
        peer.routes["/internal/serving/models/idle"] = lambda _: (200, lookup)

        answers = [
            await door.post("/predict/idle", body(), headers=OWNER, content_type=each)
            for each in (JSON, UNUSUAL)
        ]

        assert [each.status for each in answers] == [409, 409]
        assert without_own(answers[0]) == without_own(answers[1])

    @pytest.mark.parametrize("sent", ["mine-1", "", "no good", "x" * 200])
    async def test_keep_a_request_id_that_is_well_formed(self, door: Door, sent: str) -> None:
        headers = {**OWNER, "X-Request-ID": sent}

        ids = [
            (await door.post("/predict/churn", body(), headers=headers, content_type=each)).headers[
                "x-request-id"
            ]
            for each in (JSON, UNUSUAL)
        ]

        assert [each == [sent] for each in ids] == [sent == "mine-1"] * 2
        assert all(len(each) == 1 and each[0] for each in ids)

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://example.org"},
            {"Content-Encoding": "gzip"},
            {"X-API-Key": "key", "Authorization": "Bearer owner"},
        ],
        ids=str,
    )
    async def test_of_what_the_routes_know_better_are_one(self, door: Door, headers: dict[str, str]) -> None:
        answer = await door.post("/predict/churn", body(), headers={**OWNER, **headers})

        assert answer.came_to_the_routes


class TestBody:
    @pytest.mark.parametrize("cuts", [(1,), (20,), (5, 6, 30), (0,)], ids=str)
    async def test_in_pieces_is_put_together_again(self, door: Door, cuts: tuple[int, ...]) -> None:
        raw = body(return_probabilities=True)
        pieces = [raw[start:end] for start, end in zip((0, *cuts), (*cuts, len(raw)), strict=True)]

        whole = await door.post("/predict/churn", raw, headers=OWNER)
        answer = await door.post("/predict/churn", *pieces, headers=OWNER)

        assert (answer.came_to_the_routes, whole.came_to_the_routes) == (True, False)
        assert without_own(answer)[2] == without_own(await door.post("/predict/churn", raw, headers=OWNER))[2]

    async def test_that_is_large_is_left_to_the_routes(self, door: Door) -> None:
        answer = await door.post("/predict/churn", body() + b" " * MOST_BYTES, headers=OWNER)

        assert (answer.status, answer.came_to_the_routes) == (200, True)

    async def test_that_does_not_come_is_waited_for_once(
        self, limited: Settings, control: ControlPlane, churn: ServedVersion
    ) -> None:
        settings = limited.model_copy(update={"request_body_seconds": 1})
        async with opened(settings) as door:
            began = time.perf_counter()
            answer = await door.post("/predict/demo_model_1")

        assert (answer.status, answer.came_to_the_routes) == (408, True)
        assert time.perf_counter() - began < 1.9


class TestRateLimits:
    async def remaining(self, door: Door, raw: bytes, content_type: str = JSON) -> int:
        answer = await door.post("/predict/churn", raw, headers=OWNER, content_type=content_type)
        return int(answer.headers["ratelimit-remaining"][0])

    async def test_count_each_request_once(self, door: Door) -> None:
        model = watch(door.parts, in_threads=True)
        requests = [
            (body(feature1=77), JSON),  # known before
            (body(feature1=1), JSON),  # in a thread, so on to the routes
            (body(feature1=1), JSON),  # known
            (body(feature1=1), UNUSUAL),
            (body(feature1="x"), JSON),
            (body(feature1=2, explain=True), JSON),
        ]

        left = [await self.remaining(door, raw, kind) for raw, kind in requests]

        assert model.calls > 0
        assert left == list(range(left[0], left[0] - len(requests), -1))

    @pytest.mark.parametrize("limit", ["predict_rate_limit_address", "predict_rate_limit_principal"])
    async def test_refuse_and_count_the_same(
        self, limited: Settings, control: ControlPlane, churn: ServedVersion, limit: str
    ) -> None:
        control.change(active=[churn])
        found = []
        for kind in (JSON, UNUSUAL):
            async with opened(limited.model_copy(update={limit: "4/hour"})) as door:
                await until(lambda here=door: len(here.parts.directory.deployed) == 1)  # type: ignore[misc]
                before = counts()
                answers = [
                    await door.post("/predict/churn", body(), headers=OWNER, content_type=kind)
                    for _ in range(7)
                ]
                found.append(([without_own(each) for each in answers], growth(before, counts())))

        statuses = [status for status, _, _ in found[0][0]]
        assert statuses == [200] * 4 + [429] * 3
        assert found[0][1] == found[1][1]
        assert [each[0] for each in found[0][0]] == [each[0] for each in found[1][0]]
        assert [each[1].keys() for each in found[0][0]] == [each[1].keys() for each in found[1][0]]

    async def test_are_counted_for_the_same_address(self, limited: Settings, control: ControlPlane) -> None:
        settings = limited.model_copy(update={"trusted_proxies": (ip_network("198.51.100.0/24"),)})
        async with opened(settings) as door:
            left = []
            for forwarded in (
                "203.0.113.5",
                "203.0.113.5, 198.51.100.9",
                "203.0.113.5:99",
                "1.2.3.4, 203.0.113.5",
            ):
                for kind in (JSON, UNUSUAL):
                    answer = await door.post(
                        "/predict/demo_model_1",
                        body(),
                        headers={"X-Forwarded-For": forwarded},
                        content_type=kind,
                    )
                    left.append(int(answer.headers["ratelimit-remaining"][0]))

        assert left == list(range(999, 991, -1))


class TestModelThatFails:
    async def test_is_asked_once_for_each_request(self, door: Door) -> None:
        model = watch(door.parts)
        model.fails = True

        before = counts()
        quick = await door.post("/predict/churn", body(feature1=5), headers=OWNER)
        between = counts()
        other = await door.post("/predict/churn", body(feature1=6), headers=OWNER, content_type=UNUSUAL)

        assert (model.calls, quick.came_to_the_routes) == (2, False)
        assert (quick.status, other.status) == (503, 503)
        assert without_own(quick) == without_own(other)
        assert growth(before, between) == growth(between, counts())

    async def test_is_left_alone_after_three_failures(self, door: Door) -> None:
        model = watch(door.parts)
        model.fails = True
        for place in range(3):
            await door.post("/predict/churn", body(feature1=place), headers=OWNER)

        refused = [
            await door.post("/predict/churn", body(feature1=9), headers=OWNER, content_type=each)
            for each in (JSON, UNUSUAL)
        ]

        assert model.calls == 3
        assert [each.status for each in refused] == [503, 503]
        assert {each.body["code"] for each in refused} == {"model_unavailable"}
        assert all(int(each.headers["retry-after"][0]) > 0 for each in refused)
