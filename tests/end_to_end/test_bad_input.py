"""Each bad input gets a precise problem: at once, or as the error of the data set or the job. Never a 500."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.verify.calling import Caller
from tests.verify.loop import Json, body_of, finished_job, new_model, settled_dataset, upload
from tests.verify.registry import expect_problem, issues_of
from tests.verify.scene import Scene

pytestmark = pytest.mark.timeout(180)

GOOD = b"a,b,target\n" + b"".join(b"%d,%d,%s\n" % (n, n * n, b"yn"[n % 2 : n % 2 + 1]) for n in range(40))
NOT_A_UUID, UNKNOWN = "not-a-uuid", "00000000-0000-4000-8000-000000000000"


def _post(caller: Caller, content: bytes, file_name: str = "rows.csv", **form: str) -> Any:
    return caller.api("POST", "/datasets", data={"name": "bad", **form}, files={"file": (file_name, content)})


def _parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2, 3], "target": ["x", "y", "x"]}), buffer)
    return buffer.getvalue()


class TestUploadIsRefusedAtOnce:
    def test_an_empty_file(self, maker: Caller) -> None:
        problem = expect_problem(_post(maker, b""), 422)

        assert problem["code"] == "empty_file"

    @pytest.mark.parametrize(
        ("file_name", "content"),
        [
            ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(100)),
            ("workbook.csv", b"PK\x03\x04" + bytes(100)),
            ("table.xlsx", b"PK\x03\x04" + bytes(100)),
            ("rows.parquet", GOOD),
            ("rows.csv", _parquet()),
            ("rows", GOOD),
        ],
    )
    def test_a_format_that_is_not_accepted(self, maker: Caller, file_name: str, content: bytes) -> None:
        problem = expect_problem(_post(maker, content, file_name), 415)

        assert "CSV" in problem["detail"] or "Parquet" in problem["detail"]

    def test_a_form_without_a_file(self, maker: Caller) -> None:
        response = maker.api("POST", "/datasets", files={"name": (None, "no file")})

        assert ("file", "missing_field") in issues_of(expect_problem(response, 422))

    def test_a_form_without_a_name(self, maker: Caller) -> None:
        response = maker.api("POST", "/datasets", files={"file": ("rows.csv", GOOD)})

        assert ("name", "missing_field") in issues_of(expect_problem(response, 422))

    def test_an_unknown_field_of_the_form(self, maker: Caller) -> None:
        problem = expect_problem(_post(maker, GOOD, colour="red"), 422)

        assert "colour" in {field for field, _ in issues_of(problem)}

    def test_a_foreign_project(self, maker: Caller, scene: Scene) -> None:
        project = body_of(scene.stranger.api("POST", "/projects", json={"name": "not yours"}))

        expect_problem(_post(maker, GOOD, project_id=project["id"]), 404)
        expect_problem(_post(maker, GOOD, project_id=NOT_A_UUID), 422)

    def test_a_body_that_is_no_form(self, maker: Caller) -> None:
        expect_problem(maker.api("POST", "/datasets", json={"name": "json"}), 415)


REJECTED: dict[str, tuple[str, bytes, str, list[str]]] = {
    "header only": ("rows.csv", b"a,b,target\n", "no_rows", []),
    "ragged row": ("rows.csv", b"a,b,target\n1,2,x\n1,2\n3,4,y\n", "ragged_rows", ["3"]),
    "duplicate columns": ("rows.csv", b"a,b,a\n1,2,3\n4,5,6\n", "duplicate_columns", ["a"]),
    "unterminated quote": ("rows.csv", b'a,b\n1,"two\n3,4\n', "", []),
    "binary rubbish": ("rows.csv", bytes(range(256)) * 8, "", []),
    "broken JSON": ("rows.json", b'[{"a": 1}, {"a": ', "not_json", []),
    "JSON that is no table": ("rows.json", b'"only a text"', "", []),
    "JSON of numbers": ("rows.json", b"[1, 2, 3]", "rows_are_not_objects", []),
    "empty JSON array": ("rows.json", b"[]", "no_rows", []),
    "cut-off Parquet": ("rows.parquet", _parquet()[:-20], "not_parquet", []),
}


class TestUploadBecomesRejected:
    @pytest.mark.parametrize("case", REJECTED)
    def test_with_the_reason(self, maker: Caller, case: str) -> None:
        file_name, content, code, named = REJECTED[case]

        dataset = upload(maker, content, name=case, file_name=file_name)

        assert dataset["status"] == "rejected", dataset
        error = dataset["error"]
        assert error["status"] == 422
        assert code in ("", error["code"])
        assert len(error["detail"]) > 20
        for word in named:
            assert word in error["detail"], error["detail"]

    def test_the_line_and_the_column_are_fields_too(self, maker: Caller) -> None:
        error = upload(maker, b"a,b,target\n1,2,x\n1,2\n3,4,y\n", name="ragged")["error"]

        assert [(each["code"], each["line"]) for each in error["errors"]] == [("ragged_row", 3)]

    def test_the_job_says_the_same(self, maker: Caller) -> None:
        dataset = upload(maker, b"a,b,a\n1,2,3\n", name="twice")
        job = body_of(maker.api("GET", f"/jobs/{dataset['job_id']}"))

        assert (job["status"], job["attempt"]) == ("failed", 1)
        assert job["error"]["code"] == dataset["error"]["code"]

    def test_a_training_that_waited_for_it_fails_with_its_problem(self, maker: Caller) -> None:
        made = body_of(_post(maker, b"a,b,target\n1,2,x\n1,2\n"))
        model = new_model(maker, made["id"], name="waits for bad data", target="target")

        job = finished_job(maker, model["job_id"])

        assert job["status"] == "failed"
        assert job["error"]["code"] == settled_dataset(maker, made["id"])["error"]["code"]

    def test_a_later_training_is_refused_at_once(self, maker: Caller) -> None:
        dataset = upload(maker, b"a,b,target\n", name="no rows")

        body = {
            "name": "too late",
            "model_type": "classification",
            "framework": "xgboost",
            "dataset_id": dataset["id"],
        }

        assert "rejected" in expect_problem(maker.api("POST", "/models", json=body), 409)["detail"]


@pytest.fixture(scope="module")
def dataset(maker: Caller) -> Json:
    head = "a,one_class,empty,words,target"
    lines = [f"{n},same,,word{n},{'yn'[n % 2]}" for n in range(40)]
    found = upload(maker, "\n".join([head, *lines, ""]).encode(), name="targets")
    assert found["status"] == "ready", found
    return found


class TestTrainingIsRefused:
    def _ask(self, maker: Caller, dataset: Json, **wishes: Any) -> Any:
        body = {
            "name": "refused",
            "model_type": "classification",
            "framework": "xgboost",
            "dataset_id": dataset["id"],
        }
        return maker.api("POST", "/models", json={**body, **wishes})

    def test_for_a_target_that_is_not_there_naming_the_columns(self, maker: Caller, dataset: Json) -> None:
        problem = expect_problem(self._ask(maker, dataset, target="churned"), 422)

        assert all(column in problem["detail"] for column in ("a", "one_class", "empty", "words", "target"))

    def test_for_a_target_that_is_not_there_also_when_the_file_is_not_read_yet(self, maker: Caller) -> None:
        made = body_of(_post(maker, GOOD))
        answer = self._ask(maker, made, name="early", target="churned")

        if answer.status_code == 201:
            job = finished_job(maker, answer.json()["job_id"])
            assert job["status"] == "failed"
            problem = job["error"]
        else:
            problem = expect_problem(answer, 422)
        assert all(column in problem["detail"] for column in ("a", "b", "target"))

    @pytest.mark.parametrize("target", ["one_class", "empty"])
    def test_for_a_target_with_one_class_or_without_values(
        self, maker: Caller, dataset: Json, target: str
    ) -> None:
        problem = expect_problem(self._ask(maker, dataset, target=target), 422)

        assert target in problem["detail"]

    def test_for_numbers_wanted_from_words(self, maker: Caller, dataset: Json) -> None:
        problem = expect_problem(self._ask(maker, dataset, model_type="regression", target="words"), 422)

        assert "words" in problem["detail"]

    def test_for_an_unknown_framework_naming_the_known(self, maker: Caller, dataset: Json) -> None:
        problem = expect_problem(self._ask(maker, dataset, framework="catboost"), 422)

        assert ("framework", "unknown_value") in issues_of(problem)
        assert all(name in json.dumps(problem) for name in ("scikit-learn", "xgboost", "lightgbm"))

    def test_for_an_unknown_algorithm_naming_the_known(self, maker: Caller, dataset: Json) -> None:
        problem = expect_problem(self._ask(maker, dataset, framework="scikit-learn", algorithm="magic"), 422)

        assert all(name in problem["detail"] for name in ("logistic_regression", "random_forest", "knn"))

    def test_for_parameters_that_do_not_fit_naming_each(self, maker: Caller, dataset: Json) -> None:
        parameters = {"n_estimator": 5, "max_depth": -3, "learning_rate": "fast"}

        problem = expect_problem(self._ask(maker, dataset, parameters=parameters), 422)

        assert {field for field, _ in issues_of(problem)} == set(parameters)
        assert "n_estimators" in problem["detail"]

    def test_for_a_foreign_data_set(self, scene: Scene, dataset: Json) -> None:
        expect_problem(self._ask(scene.stranger, dataset), 404)


class TestPrediction:
    def test_before_a_deployment_says_how_to_deploy(self, scene: Scene, maker: Caller) -> None:
        body = {"name": "never deployed", "model_type": "classification", "framework": "xgboost"}
        model = body_of(maker.api("POST", "/models", json=body))

        problem = expect_problem(maker.predict(model["id"], {"a": 1}), 409)

        assert "deploy" in problem["detail"]
        expect_problem(maker.api("POST", f"/models/{model['id']}/deploy", json={}), 409)

    def test_of_an_unknown_model(self, maker: Caller) -> None:
        expect_problem(maker.predict(UNKNOWN, {"a": 1}), 404)
        expect_problem(
            maker.api("POST", "/predictions", json={"model_id": UNKNOWN, "input_data": {"a": 1}}), 404
        )

    @pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
    def test_of_a_number_that_is_not_finite_names_the_field(self, scene: Scene, constant: str) -> None:
        rest = '"feature2": 1, "feature3": 2, "feature4": 3'
        headers = {"Content-Type": "application/json"}
        content = f'{{"input_data": {{"feature1": {constant}, {rest}}}}}'

        response = scene.nobody.ml("POST", "/predict/demo_model_1", content=content, headers=headers)

        assert ("feature1", "not_finite") in issues_of(expect_problem(response, 422))

    @pytest.mark.parametrize(
        "body",
        [
            "{}",
            '{"input_data": []}',
            '{"input_data": {}, "mode": 1}',
            '{"input_data": null}',
            "[]",
            "7",
            "null",
        ],
    )
    def test_of_a_body_of_another_shape(self, scene: Scene, body: str) -> None:
        headers = {"Content-Type": "application/json"}

        response = scene.nobody.ml("POST", "/predict/demo_model_1", content=body, headers=headers)

        expect_problem(response, 422)

    def test_of_too_many_rows(self, scene: Scene) -> None:
        row = {"feature1": 0, "feature2": 0, "feature3": 0, "feature4": 0}

        expect_problem(scene.nobody.predict_batch("demo_model_1", [row] * 10_001), 422)
