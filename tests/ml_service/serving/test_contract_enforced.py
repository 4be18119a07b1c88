"""Bad input over HTTP: what is wrong is named where it stands, one row and many alike."""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx2
import pytest

from ml_service.settings import Settings
from platform_kit.plumbing.object_store import ObjectStore
from tests.ml_service.peer import running_peer
from tests.ml_service.serving.calling import OWNER, ControlPlane, running_service, serves
from tests.ml_service.serving.crowd import Crowd
from tests.ml_service.serving.publishing import publish, served

ROW = {"age": 30, "income": 2500.5, "city": "Bonn", "member": True, "since": "2016-05-01T12:00:00Z"}


@pytest.fixture(scope="module")
async def asked(
    environment: dict[str, str], crowd: Crowd, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx2.AsyncClient]:
    """One service for all tests here, which serves the crowd as `churn`."""
    with pytest.MonkeyPatch.context() as patch, running_peer() as peer:
        for name, value in environment.items():
            patch.setenv(name, value)
        settings = Settings.from_environment().model_copy(
            update={
                "api_internal_url": peer.url,
                "ml_cache_dir": tmp_path_factory.mktemp("cache"),
                "demo_models": False,
            }
        )
        store = ObjectStore.from_settings(settings)
        store.prepare()
        control = ControlPlane(peer)
        async with running_service(settings) as http:
            control.change(active=[served(publish(store, crowd.folder))])
            await serves(http, 1)
            yield http


class Case(NamedTuple):
    """row: JSON of the row. found: code, and the pointer below the row. warns: it is answered, with a warning."""

    row: str
    found: list[tuple[str, str]]
    warns: bool = False
    hint: str | None = None


def changed(**change: Any) -> str:
    return json.dumps({**ROW, **change})


def without(name: str) -> str:
    return json.dumps({key: value for key, value in ROW.items() if key != name})


def literally(name: str, text: str) -> str:
    """With a cell that `json.dumps` would not write."""
    return changed(**{name: "?!"}).replace('"?!"', text)


AGE, INCOME, CITY, MEMBER, SINCE = "/age", "/income", "/city", "/member", "/since"
CASES = {
    # The nine classes of bad input that others let through, or catch without a position.
    "null where training had none": Case(changed(age=None), [("null_not_allowed", AGE)]),
    "a field is missing": Case(without("age"), [("missing_field", AGE)], hint="add `age`"),
    "a text for a number": Case(
        changed(age="abc"), [("wrong_type", AGE)], hint="send a JSON number, without quotes"
    ),
    "null in a required decimal": Case(changed(income=None), [("null_not_allowed", INCOME)]),
    "a category that was never seen": Case(
        changed(city="ATLANTIS"), [("unknown_category", CITY)], warns=True
    ),
    "an absurd number": Case(changed(age=-5000), [("out_of_range", AGE)], warns=True),
    "a misspelt field beside all others": Case(
        changed(incmoe=1), [("unknown_field", "/incmoe")], hint="did you mean `income`?"
    ),
    "a fraction for an integer": Case(
        changed(age=30.7), [("wrong_type", AGE)], hint="round it before sending"
    ),
    "a word for a boolean": Case(changed(member="no"), [("wrong_type", MEMBER)]),
    "a boolean in quotes": Case(changed(member="false"), [("wrong_type", MEMBER)]),
    # And what else a decoder or a model would swallow.
    "a number for a boolean": Case(changed(member=0), [("wrong_type", MEMBER)]),
    "a boolean for a number": Case(changed(age=True), [("wrong_type", AGE)]),
    "a number in quotes": Case(changed(income="2500.5"), [("wrong_type", INCOME)]),
    "a number for a text": Case(changed(city=5), [("wrong_type", CITY)]),
    "no moment": Case(changed(since="yesterday"), [("wrong_type", SINCE)]),
    "a number for a moment": Case(changed(since=1462104000), [("wrong_type", SINCE)]),
    "an object in a cell": Case(changed(age={"value": 30}), [("wrong_type", AGE)]),
    "an array in a cell": Case(changed(age=[30]), [("wrong_type", AGE)]),
    "the row in an array": Case(f"[{json.dumps(ROW)}]", [("wrong_type", "")]),
    "the row in a row": Case(
        json.dumps({"input_data": ROW}),
        [
            *(("missing_field", each) for each in (AGE, INCOME, CITY, MEMBER, SINCE)),
            ("unknown_field", "/input_data"),
        ],
    ),
    "NaN": Case(literally("income", "NaN"), [("not_finite", INCOME)]),
    "Infinity": Case(literally("income", "Infinity"), [("not_finite", INCOME)]),
    "minus Infinity": Case(literally("age", "-Infinity"), [("not_finite", AGE)]),
    "1e400": Case(literally("income", "1e400"), [("not_finite", INCOME)]),
    "a number of 5000 digits": Case(literally("age", "9" * 5000), [("not_finite", AGE)]),
    "NaN for a boolean": Case(literally("member", "NaN"), [("wrong_type", MEMBER)]),
    "2**70": Case(changed(age=2**70), [("out_of_range", AGE)], warns=True),
    "a key twice": Case(changed()[:-1] + ', "age": 31}', [("duplicate_key", AGE)]),
    "a key twice with the same value": Case(changed()[:-1] + ', "city": "Bonn"}', [("duplicate_key", CITY)]),
    "a key twice, once with an escape": Case(changed()[:-1] + ', "\\u0061ge": 30}', [("duplicate_key", AGE)]),
    "an unknown key twice": Case(
        changed()[:-1] + ', "x": 1, "x": 1}', [("unknown_field", "/x"), ("duplicate_key", "/x")]
    ),
    "half a character": Case(literally("city", r'"\ud83d"'), [("malformed", CITY)]),
    "half a character in a moment": Case(literally("since", r'"2016\udc00"'), [("wrong_type", SINCE)]),
    "half a character in a name": Case(changed()[:-1] + r', "\ud83d": 1}', [("unknown_field", "/\ud83d")]),
    "U+0000 in a text": Case(changed(city="\0"), [("unknown_category", CITY)], warns=True),
    "a slash and a tilde in a name": Case(changed(**{"a/b~c": 1}), [("unknown_field", "/a~1b~0c")]),
    "everything at once": Case(
        '{"age": "30", "income": null, "city": 1, "member": 1, "snce": "2016-05-01", "age": 5}',
        [
            *(("wrong_type", each) for each in (CITY, MEMBER)),
            *(("null_not_allowed", INCOME), ("missing_field", SINCE), ("unknown_field", "/snce")),
            ("duplicate_key", AGE),
        ],
    ),
}


async def post(http: httpx2.AsyncClient, body: str, *, tail: str = "") -> httpx2.Response:
    headers = {**OWNER, "Content-Type": "application/json"}
    return await http.post(f"/predict/churn{tail}", content=body.encode(), headers=headers)


def named(issues: list[dict[str, Any]]) -> list[tuple[str, str, int | None]]:
    return sorted((each["code"], each["pointer"], each.get("row")) for each in issues)


class TestBadInput:
    @pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
    async def test_is_named_where_it_stands(self, asked: httpx2.AsyncClient, case: Case) -> None:
        answer = await post(asked, f'{{"input_data": {case.row}}}')

        body = answer.json()
        assert answer.status_code == (200 if case.warns else 422), body
        issues = body["metadata"]["warnings"] if case.warns else body["errors"]
        assert named(issues) == sorted((code, f"/input_data{place}", None) for code, place in case.found)
        if case.hint:
            assert issues[0]["hint"] == case.hint

    @pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
    async def test_is_named_with_its_row_among_many(self, asked: httpx2.AsyncClient, case: Case) -> None:
        good = json.dumps(ROW)

        answer = await post(asked, f'{{"inputs": [{good}, {good}, {case.row}]}}', tail="/batch")

        body = answer.json()
        assert answer.status_code == (200 if case.warns else 422), body
        issues = body["metadata"]["warnings"] if case.warns else body["errors"]
        assert named(issues) == sorted((code, f"/inputs/2{place}", 2) for code, place in case.found)

    async def test_in_two_rows_of_three_is_named_in_both(self, asked: httpx2.AsyncClient) -> None:
        rows = f"{changed(age=None)}, {json.dumps(ROW)}, {changed(income='1', member='no')}"

        answer = await post(asked, f'{{"inputs": [{rows}]}}', tail="/batch")

        body = answer.json()
        assert (answer.status_code, body["code"]) == (422, "invalid_input")
        assert [(each["row"], each["field"], each["code"]) for each in body["errors"]] == [
            (0, "age", "null_not_allowed"),
            (2, "income", "wrong_type"),
            (2, "member", "wrong_type"),
        ]
        assert body["detail"] == "3 errors in 2 of 3 rows; please mend age, income, member."

    async def test_says_what_was_sent_and_what_would_be_right(self, asked: httpx2.AsyncClient) -> None:
        answer = await post(asked, f'{{"input_data": {changed(age="thirty")}}}')

        (error,) = answer.json()["errors"]
        assert error == {
            "pointer": "/input_data/age",
            "field": "age",
            "code": "wrong_type",
            "got": '"thirty"',
            "expected": "integer",
            "hint": "send a JSON number, without quotes",
        }


class TestGoodInput:
    async def test_is_answered_the_same_in_any_order_and_spelling(self, asked: httpx2.AsyncClient) -> None:
        spellings = [
            json.dumps(ROW),
            json.dumps(dict(reversed(ROW.items()))),
            json.dumps(ROW, indent=3),
            changed(age=30.0, income=25005e-1, since="2016-05-01T14:00:00+02:00"),
            json.dumps(ROW).replace("Bonn", "\\u0042onn").replace("age", "\\u0061ge"),
        ]

        answers = [
            (
                await post(
                    asked, f'{{"input_data": {each}, "use_cache": false, "return_probabilities": true}}'
                )
            ).json()
            for each in spellings
        ]

        assert len({json.dumps([each["prediction"], each["probabilities"]]) for each in answers}) == 1
        assert [each["metadata"]["warnings"] for each in answers] == [[]] * len(spellings)

    async def test_may_have_gaps_where_training_had_some(self, asked: httpx2.AsyncClient) -> None:
        answer = await post(asked, f'{{"input_data": {changed(city=None, member=None, since=None)}}}')

        assert (answer.status_code, answer.json()["metadata"]["warnings"]) == (200, [])
