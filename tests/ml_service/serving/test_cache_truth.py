"""Whatever is cached, wherever, and whatever becomes of it: the answer is the one that the model would give."""

import random
from pathlib import Path
from typing import Any
from uuid import UUID

import redis

from ml_service.settings import Settings
from platform_kit.contract.serving import ServedVersion
from platform_kit.plumbing.object_store import ObjectStore
from tests.ml_service.serving.calling import (
    OWNER,
    ROW,
    STRANGER,
    ControlPlane,
    running_inside,
    serves,
    until,
)
from tests.ml_service.serving.processes import (
    Process,
    answered,
    asked,
    asked_many,
    entries,
    hit,
    number,
    said,
    true,
)
from tests.ml_service.serving.publishing import publish, served
from tests.ml_service.serving.watching import loaded, watch


class TestSameRow:
    async def test_is_known_in_any_order_and_with_any_spelling_of_its_numbers(self, process: Process) -> None:
        first = await answered(process)
        again = [
            await answered(process),
            await answered(process, dict(reversed(ROW.items()))),
            await answered(process, {**ROW, "feature2": 1.0, "feature4": 2}),
        ]

        assert [hit(first), *map(hit, again)] == [False, True, True, True]
        assert [said(each) for each in again] == [said(first)] * 3

    async def test_is_refused_where_it_is_no_longer_the_same(self, process: Process) -> None:
        await answered(process)

        for cell, code in (("1", "wrong_type"), (True, "wrong_type"), (None, "null_not_allowed")):
            refused = await asked(process, {**ROW, "feature2": cell})
            assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, code)
        missing = await asked(process, {name: ROW[name] for name in list(ROW)[1:]})
        assert missing.json()["errors"][0]["code"] == "missing_field"

    async def test_is_another_one_with_a_negative_zero(self, process: Process) -> None:
        zeros: list[float] = [0.0, -0.0, 0]

        answers = [await answered(process, {**ROW, "feature3": zero}) for zero in zeros]

        assert [hit(each) for each in answers] == [False, False, True]
        for zero, answer in zip(zeros, answers, strict=True):
            assert said(answer) == await true(process, {**ROW, "feature3": zero})

    async def test_has_probabilities_if_asked_for_whoever_asked_first(self, process: Process) -> None:
        without = await answered(process, return_probabilities=False)
        later = await answered(process)
        again = await answered(process, return_probabilities=False)

        assert [hit(each) for each in (without, later, again)] == [False, True, True]
        assert (without["probabilities"], again["probabilities"]) == (None, None)
        assert said(later) == await true(process)

    async def test_is_answered_by_each_model_for_itself(
        self,
        process: Process,
        control: ControlPlane,
        churn: ServedVersion,
        store: ObjectStore,
        demo_folder: Path,
    ) -> None:
        price = served(publish(store, demo_folder / "demo_model_2"), endpoint="price", model_id=UUID(int=2))
        control.change(active=[churn, price])
        await until(lambda: process.parts.directory.deployed[-1].endpoint == "price")

        answers = [await answered(process, model=model) for model in ("churn", "price", "demo_model_1") * 2]

        assert [hit(each) for each in answers[:2]] == [False, False]
        assert [hit(each) for each in answers[3:]] == [True, True, True]
        for model, answer in zip(("churn", "price", "demo_model_1") * 2, answers, strict=True):
            assert said(answer) == await true(process, model=model)
        assert answers[0]["prediction"] in (0, 1)
        assert isinstance(answers[1]["prediction"], float)


class TestDeployments:
    async def test_decide_for_themselves_what_is_made_of_what_is_known(
        self, process: Process, control: ControlPlane, churn: ServedVersion
    ) -> None:
        plain = await answered(process)
        certain = max(plain["probabilities"].values())
        configs: list[dict[str, Any]] = [
            {"labels": {"0": "stays", "1": "leaves"}},
            {"threshold": 0.999999, "positive_class": plain["prediction"]},
            {"abstain_below": min(1.0, certain + 1e-6), "abstain_answer": "?"},
            {"decimals": 1, "output_name": "churns"},
            {},
        ]
        seen = []
        for place, config in enumerate(configs):
            control.change(
                active=[churn.model_copy(update={"config": config, "deployment_id": UUID(int=place)})]
            )
            await until(lambda wanted=config: process.parts.directory.deployed[0].config == wanted)  # type: ignore[misc]
            answer = await answered(process)
            assert hit(answer)
            assert said(answer) == await true(process)
            seen.append((answer["prediction"], answer.get("outputs")))

        other = 1 - plain["prediction"]
        assert seen == [
            ("leaves" if plain["prediction"] else "stays", None),
            (other, None),
            ("?", None),
            (plain["prediction"], {"churns": plain["prediction"]}),
            (plain["prediction"], None),
        ]

    async def test_warn_each_time_of_what_they_filled_in(
        self, process: Process, control: ControlPlane, churn: ServedVersion
    ) -> None:
        config = {"fields": {"feature1": {"on_missing": "impute"}}}
        control.change(active=[churn.model_copy(update={"config": config})])
        await until(lambda: process.parts.directory.deployed[0].config == config)
        gap = {name: value for name, value in ROW.items() if name != "feature1"}
        usual = loaded(process.parts).manifest.contract.fields[0].typical

        answers = [
            await answered(process, gap),
            await answered(process, gap),
            await answered(process, {**ROW, "feature1": usual}),
        ]

        assert [hit(each) for each in answers] == [False, True, True]
        codes = [[each["code"] for each in answer["metadata"]["warnings"]] for answer in answers]
        assert codes == [["missing_field"], ["missing_field"], []]
        assert len({str(each["probabilities"]) for each in answers}) == 1

    async def test_that_go_back_answer_as_before(
        self,
        process: Process,
        control: ControlPlane,
        churn: ServedVersion,
        store: ObjectStore,
        demo_folder: Path,
    ) -> None:
        """The second version has the same files and another digest, so only the digest tells their entries apart."""
        second = served(publish(store, demo_folder / "demo_model_1", seed=2), version=2)
        found = []
        for each in (churn, second, churn):
            control.change(active=[each])
            await serves(process.http, each.version)
            answer = await answered(process)
            assert said(answer) == await true(process)
            found.append((hit(answer), answer["metadata"]["model_version"], answer["metadata"]["digest"]))

        assert found == [
            (False, 1, churn.manifest.digest),
            (False, 2, second.manifest.digest),
            (True, 1, churn.manifest.digest),
        ]


class TestCallers:
    async def test_are_let_in_before_anything_is_looked_up(self, process: Process) -> None:
        await answered(process)

        foreign = [await asked(process, headers=STRANGER) for _ in range(3)]  # known from the second on
        nobody = await process.http.post("/predict/churn", json={"input_data": ROW})

        assert [each.status_code for each in (*foreign, nobody)] == [404, 404, 404, 401]
        assert not any("prediction_id" in each.text for each in (*foreign, nobody))

    async def test_get_ids_of_their_own(self, process: Process) -> None:
        answers = [await answered(process) for _ in range(5)]

        assert len({each["prediction_id"] for each in answers}) == 5
        assert [hit(each) for each in answers] == [False, True, True, True, True]


class TestProcesses:
    async def test_know_what_another_was_told(self, process: Process, second: Process) -> None:
        model = watch(second.parts)
        first = await answered(process)

        later = await answered(second)

        assert (hit(first), hit(later), model.calls) == (False, True, 0)
        assert said(later) == said(first)
        assert said(later) == await true(second)

    async def test_that_start_anew_know_it_too(
        self, slow_models: Settings, control: ControlPlane, churn: ServedVersion
    ) -> None:
        control.change(active=[churn])
        answers = []
        for _ in range(2):
            async with running_inside(slow_models) as (http, parts):
                await serves(http, 1)
                answers.append(await answered(Process(http, parts)))

        assert [hit(each) for each in answers] == [False, True]
        assert said(answers[0]) == said(answers[1])

    async def test_believe_nothing_that_was_planted(
        self, process: Process, second: Process, shared_redis: "redis.Redis"
    ) -> None:
        chance = random.Random(2)
        for place in range(6):
            await answered(process, number(place))
        names, kept = list(entries(shared_redis)), list(entries(shared_redis).values())
        assert len(kept) == 6
        planted = [
            chance.randbytes(80),
            kept[1][:-3],
            kept[3],
            kept[3].replace(b"0.", b"1.", 1),
            b"",
            kept[5][:16] + b"[1,[0.0,1.0]]",
        ]
        for name, each in zip(names, planted, strict=True):
            shared_redis.set(name, each)

        answers = [await answered(second, number(place)) for place in range(6)]

        assert [hit(each) for each in answers] == [False] * 6
        for place, answer in enumerate(answers):
            assert said(answer) == await true(process, number(place))

    async def test_leave_redis_out_for_a_model_that_is_quicker(
        self,
        settings: Settings,
        cached_demos: None,
        shared_redis: "redis.Redis",
        control: ControlPlane,
        churn: ServedVersion,
    ) -> None:
        control.change(active=[churn])
        never = settings.model_copy(update={"prediction_cache_shared_from_microseconds": 10**9})
        async with running_inside(never) as (http, parts):
            await serves(http, 1)
            answers = [await answered(Process(http, parts)) for _ in range(2)]

        assert [hit(each) for each in answers] == [False, True]
        assert entries(shared_redis) == {}


class TestUseCache:
    async def test_that_is_false_neither_reads_nor_writes(
        self, process: Process, second: Process, shared_redis: "redis.Redis"
    ) -> None:
        model = watch(process.parts)
        for _ in range(3):
            assert not hit(await answered(process, use_cache=False))
        batch = {"inputs": [ROW, ROW], "use_cache": False}
        many = (await process.http.post("/predict/churn/batch", json=batch, headers=OWNER)).json()

        assert (model.calls, model.rows) == (4, 5)
        assert (many["metadata"]["cache_used"], many["metadata"]["cache_hits"]) == (False, 0)
        assert len(process.parts.predicting.local) == 0
        assert entries(shared_redis) == {}
        assert not hit(await answered(process))

    async def test_is_always_false_without_room_for_entries(
        self, slow_models: Settings, control: ControlPlane, churn: ServedVersion, shared_redis: "redis.Redis"
    ) -> None:
        control.change(active=[churn])
        async with running_inside(slow_models.model_copy(update={"prediction_cache_bytes": 0})) as (
            http,
            parts,
        ):
            await serves(http, 1)
            answers = [await answered(Process(http, parts)) for _ in range(2)]

        assert [hit(each) for each in answers] == [False, False]
        assert entries(shared_redis) == {}


class TestBatch:
    async def test_asks_the_model_only_about_rows_that_nobody_knows(
        self, process: Process, second: Process, shared_redis: "redis.Redis"
    ) -> None:
        here, there = watch(process.parts), watch(second.parts)
        await answered(process, number(0))
        await answered(second, number(1))
        rows = [number(place) for place in (0, 1, 2, 3, 2)]

        batch = await asked_many(process, rows)
        shared_redis.flushdb()
        again = await asked_many(process, rows)

        assert (here.rows, there.rows) == (1 + 2, 1)
        assert (batch["metadata"]["cache_used"], batch["metadata"]["cache_hits"]) == (False, 2)
        assert (again["metadata"]["cache_used"], again["metadata"]["cache_hits"]) == (True, 5)
        for row, item, later in zip(rows, batch["predictions"], again["predictions"], strict=True):
            wanted = await true(process, row)
            assert item["probabilities"] == later["probabilities"] == wanted["probabilities"]
            assert item["prediction"] == later["prediction"] == wanted["prediction"]
        assert len({each["prediction_id"] for each in batch["predictions"] + again["predictions"]}) == 10

    async def test_of_thousands_is_kept_from_redis(
        self, process: Process, shared_redis: "redis.Redis"
    ) -> None:
        """It would hold up everybody for longer than the model takes, and count as a failure of Redis."""
        await asked_many(process, [number(place) for place in range(3000)])

        assert entries(shared_redis) == {}
        assert hit(await answered(process, number(2999)))
        await answered(process, number(5000))
        assert len(entries(shared_redis)) == 1
