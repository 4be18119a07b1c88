"""From bytes to bytes: what a request may hold, and what is said when it does not."""

import json
import math
import time
from typing import Any

import pytest

from ml_service.serving.answers import batch_answer, single_answer
from ml_service.serving.demo_models import DemoModels
from ml_service.serving.errors import InvalidInput, Malformed
from ml_service.serving.found import Found
from ml_service.serving.predicting import Said
from ml_service.serving.understanding import Understood, understood_batch, understood_single

ROW = {"feature1": 0.5, "feature2": 1, "feature3": -0.3, "feature4": 2.0}


@pytest.fixture
def classifier(demos: DemoModels) -> Found:
    found = demos.find("demo_model_1")
    assert found
    return found


@pytest.fixture
def regressor(demos: DemoModels) -> Found:
    found = demos.find("demo_model_2")
    assert found
    return found


def raw(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def said(found: Found, understood: Understood) -> list[Said]:
    predictor = found.version.predictor
    return [Said(each, from_cache=False) for each in predictor.score(predictor.encode(understood.rows))]


def ask(found: Found, body: Any) -> dict[str, Any]:
    understood = understood_single(found.servable, raw(body))
    (only,) = said(found, understood)
    answer = single_answer(
        found, only, understood.options, began=time.perf_counter(), warnings=understood.warnings
    )
    decoded: dict[str, Any] = json.loads(answer)
    return decoded


def ask_many(found: Found, body: Any) -> dict[str, Any]:
    understood = understood_batch(found.servable, raw(body))
    answer = batch_answer(
        found,
        said(found, understood),
        understood.options,
        began=time.perf_counter(),
        warnings=understood.warnings,
    )
    decoded: dict[str, Any] = json.loads(answer)
    return decoded


def refusal(version: Found, body: Any) -> list[tuple[str, str, str | None]]:
    """(code, pointer, field) of each error."""
    with pytest.raises(InvalidInput) as refused:
        ask(version, body)
    return [(str(each.code), each.pointer, each.field) for each in refused.value.errors or []]


class TestSingle:
    def test_says_all_that_the_contract_promises(self, classifier: Found) -> None:
        answer = ask(classifier, {"input_data": ROW, "return_probabilities": True})

        assert set(answer) == {
            *("model_id", "prediction", "confidence_score", "probabilities", "processing_time", "timestamp"),
            *("prediction_id", "metadata"),
        }
        assert answer["model_id"] == "demo_model_1"
        assert answer["prediction"] in (0, 1)
        assert math.isclose(sum(answer["probabilities"].values()), 1)
        assert answer["confidence_score"] == max(answer["probabilities"].values())
        assert answer["probabilities"][str(answer["prediction"])] == answer["confidence_score"]
        assert answer["metadata"] == {
            "model_version": 1,
            "digest": classifier.version.digest,
            "cache_used": False,
            "warnings": [],
        }
        assert answer["timestamp"].endswith("Z")

    def test_gives_probabilities_only_when_asked(self, classifier: Found) -> None:
        assert ask(classifier, {"input_data": ROW})["probabilities"] is None

    def test_of_a_regression_has_no_confidence(self, regressor: Found) -> None:
        answer = ask(regressor, {"input_data": ROW, "return_probabilities": True})

        assert isinstance(answer["prediction"], float)
        assert (answer["confidence_score"], answer["probabilities"]) == (None, None)

    def test_matches_features_by_name(self, regressor: Found) -> None:
        turned = dict(reversed(ROW.items()))

        assert (
            ask(regressor, {"input_data": turned})["prediction"]
            == ask(regressor, {"input_data": ROW})["prediction"]
        )

    def test_has_learnt_the_rule(self, regressor: Found) -> None:
        low = ask(regressor, {"input_data": {**ROW, "feature1": -1.5}})["prediction"]
        high = ask(regressor, {"input_data": {**ROW, "feature1": 1.5}})["prediction"]

        assert 5 < high - low < 13  # the rule says 9

    @pytest.mark.parametrize("value", [1e300, -1e300, 0, 3, 2**70])
    def test_takes_any_finite_number(self, regressor: Found, value: float) -> None:
        answer = ask(regressor, {"input_data": {**ROW, "feature1": value}})

        assert math.isfinite(answer["prediction"])
        assert answer["metadata"]["warnings"] == []


class TestRefusal:
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"feature1": "0.5"}, "wrong_type"),
            ({"feature1": True}, "wrong_type"),
            ({"feature1": [1]}, "wrong_type"),
            ({"feature1": {}}, "wrong_type"),
            ({"feature1": None}, "null_not_allowed"),
        ],
        ids=str,
    )
    def test_names_the_field_and_what_is_wrong(
        self, classifier: Found, change: dict[str, Any], code: str
    ) -> None:
        found = refusal(classifier, {"input_data": {**ROW, **change}})

        assert found == [(code, "/input_data/feature1", "feature1")]

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e999"])
    def test_knows_numbers_that_are_not_finite(self, classifier: Found, number: str) -> None:
        body = json.dumps({"input_data": {**ROW, "feature1": "?"}}).replace('"?"', number).encode()

        assert refusal(classifier, body) == [("not_finite", "/input_data/feature1", "feature1")]

    def test_names_everything_at_once(self, classifier: Found) -> None:
        row = {"feature1": "x", "feature2": None, "feature3": 1, "fature4": 2}

        assert refusal(classifier, {"input_data": row}) == [
            ("wrong_type", "/input_data/feature1", "feature1"),
            ("null_not_allowed", "/input_data/feature2", "feature2"),
            ("missing_field", "/input_data/feature4", "feature4"),
            ("unknown_field", "/input_data/fature4", "fature4"),
        ]

    def test_suggests_the_name_that_was_meant(self, classifier: Found) -> None:
        with pytest.raises(InvalidInput) as refused:
            ask(classifier, {"input_data": {**ROW, "fature4": 2}})

        assert (refused.value.errors or [])[0].hint == "did you mean `feature4`?"

    def test_notices_a_key_that_is_there_twice(self, classifier: Found) -> None:
        row = json.dumps(ROW)[:-1] + ', "feature1": 9}'
        in_row = refusal(classifier, f'{{"input_data": {row}}}'.encode())
        outside = refusal(classifier, f'{{"input_data": {json.dumps(ROW)}, "input_data": {{}}}}'.encode())

        assert ("duplicate_key", "/input_data/feature1", "feature1") in in_row
        assert ("duplicate_key", "/input_data", "input_data") in outside

    @pytest.mark.parametrize(
        ("body", "code", "field"),
        [
            ({}, "missing_field", "input_data"),
            ({"input_data": []}, "wrong_type", "input_data"),
            ({"input_data": None}, "null_not_allowed", "input_data"),
            ({"input_data": ROW, "return_probabilities": "yes"}, "wrong_type", "return_probabilities"),
            ({"input_data": ROW, "feature1": 1}, "unknown_field", "feature1"),
            ([], "wrong_type", None),
        ],
        ids=str,
    )
    def test_knows_the_shape_of_a_request(
        self, classifier: Found, body: Any, code: str, field: str | None
    ) -> None:
        assert (code, field) in [(each[0], each[2]) for each in refusal(classifier, body)]

    @pytest.mark.parametrize(
        "raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}}', b"1" * 5000, b"nul"]
    )
    def test_of_what_is_no_json_is_a_400(self, classifier: Found, raw: bytes) -> None:
        with pytest.raises((Malformed, InvalidInput)) as refused:
            ask(classifier, raw)

        assert refused.value.status in (400, 422)


class TestBatch:
    def test_answers_each_row_as_a_single_request_does(self, regressor: Found) -> None:
        rows = [{**ROW, "feature1": n / 7} for n in range(50)]

        batch = ask_many(regressor, {"inputs": rows})

        singles = [ask(regressor, {"input_data": row})["prediction"] for row in rows]
        assert [each["prediction"] for each in batch["predictions"]] == singles
        assert len({each["prediction_id"] for each in batch["predictions"]}) == 50
        assert batch["total_processing_time"] > 0
        assert batch["average_time_per_prediction"] == pytest.approx(
            batch["total_processing_time"] / 50, rel=1e-3
        )

    def test_is_refused_whole_with_the_number_of_each_bad_row(self, classifier: Found) -> None:
        rows = [ROW, {**ROW, "feature2": "x"}, ROW, {"feature1": 1}, 5]

        with pytest.raises(InvalidInput) as refused:
            ask_many(classifier, {"inputs": rows})

        found = [(each.row, each.field, str(each.code), each.pointer) for each in refused.value.errors or []]
        assert found[0] == (1, "feature2", "wrong_type", "/inputs/1/feature2")
        assert [each[0] for each in found] == [1, 3, 3, 3, 4]
        assert "in 3 of 5 rows" in refused.value.detail

    @pytest.mark.parametrize(("count", "code"), [(0, "too_short"), (10_001, "too_long")])
    def test_has_a_size(self, classifier: Found, count: int, code: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            ask_many(classifier, {"inputs": [ROW] * count})

        assert str((refused.value.errors or [])[0].code) == code

    def test_lists_no_more_errors_than_anybody_reads(self, classifier: Found) -> None:
        with pytest.raises(InvalidInput) as refused:
            ask_many(classifier, {"inputs": [{}] * 5000})

        assert len(refused.value.errors or []) == 1000
        assert "1000 errors in 250 of the first 250 of 5000 rows" in refused.value.detail
