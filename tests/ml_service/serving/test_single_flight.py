"""Equal requests at the same time ask a model once, whatever becomes of those that ask."""

import asyncio

import pytest

from tests.ml_service.serving.processes import Process, answered, asked, asked_many, hit, number, said, true
from tests.ml_service.serving.watching import loaded, watch


class TestEqualRequestsAtOnce:
    async def test_ask_the_model_once(self, process: Process) -> None:
        model = watch(process.parts, in_threads=True)
        model.seconds = 0.1

        answers = await asyncio.gather(*(answered(process) for _ in range(200)))

        assert 1 <= model.calls <= 2
        assert len({str(said(each)) for each in answers}) == 1
        assert said(answers[0]) == await true(process)
        assert sum(not hit(each) for each in answers) == model.calls - 1  # the last call was `true`

    async def test_ask_once_together_with_a_batch(self, process: Process) -> None:
        model = watch(process.parts, in_threads=True)
        model.seconds = 0.1
        rows = [number(place) for place in range(4)]

        batches = await asyncio.gather(
            asked_many(process, rows[:3]),
            asked_many(process, rows[1:]),
            *(answered(process, row) for row in rows),
        )

        assert model.rows == 4
        for row, single in zip(rows, batches[2:], strict=True):
            assert said(single) == await true(process, row)

    async def test_fail_together(self, process: Process) -> None:
        model = watch(process.parts, in_threads=True)
        model.seconds, model.fails = 0.1, True

        refused = await asyncio.gather(*(asked(process) for _ in range(50)))

        assert model.calls == 1
        assert {each.status_code for each in refused} == {503}
        assert all(int(each.headers["Retry-After"]) > 0 for each in refused)
        model.fails = False
        assert not hit(await answered(process))

    @pytest.mark.parametrize("given_up", [0, 1, 2], ids=["the first", "another", "the last"])
    async def test_are_answered_also_when_one_of_them_is_given_up(
        self, process: Process, given_up: int
    ) -> None:
        model = watch(process.parts, in_threads=True)
        model.seconds = 0.2
        version, row = loaded(process.parts), [0.5, 1.0, -0.3, 2.0]
        predicting = process.parts.predicting
        requests = [asyncio.create_task(predicting.single(version, row, use_cache=True)) for _ in range(3)]
        await asyncio.sleep(0.05)

        requests[given_up].cancel()
        answers = await asyncio.gather(*requests, return_exceptions=True)

        assert isinstance(answers.pop(given_up), asyncio.CancelledError)
        assert not [each for each in answers if isinstance(each, BaseException)]
        assert model.calls == 1
        assert hit(await answered(process))
