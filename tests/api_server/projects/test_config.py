"""A project's own JSON, and what trainings take from it."""

from typing import Any

import httpx2
import pytest

from platform_kit.contract.jobs import TrainSpec
from tests.api_server.factories import SignedIn, Worker, new_model, upload
from tests.api_server.projects.crew import new_project

DEFAULTS = {
    "seed": 7,
    "target": "city",
    "preprocessing": {"exclude": ["age"], "scale": False},
    "algorithms": {"scikit-learn": "logistic_regression"},
    "parameters": {"lightgbm": {"n_estimators": 50, "num_leaves": 7}, "random_forest": {"max_depth": None}},
}


async def send(who: SignedIn, **config: Any) -> httpx2.Response:
    return await who.http.post("/projects", json={"name": "churn", "config": config})


def nested(levels: int) -> dict[str, Any]:
    deep: dict[str, Any] = {}
    for _ in range(levels - 1):
        deep = {"a": deep}
    return deep


async def spec_of(worker: Worker, job_id: str) -> TrainSpec:
    spec = (await worker.claim(job_id)).spec
    assert isinstance(spec, TrainSpec)
    return spec


@pytest.fixture
async def project_id(maker: SignedIn) -> str:
    return await new_project(maker, config={"training": DEFAULTS})


@pytest.fixture
async def dataset_id(maker: SignedIn, worker: Worker, project_id: str) -> str:
    dataset = await upload(maker, project_id=project_id)
    await worker.profile(dataset["job_id"])
    return str(dataset["id"])


class TestConfig:
    async def test_is_kept_as_it_was_sent(self, maker: SignedIn) -> None:
        config = {"training": DEFAULTS, "model_config": {"extra": None}, "copy": [1, 2.5], "": "ü"}

        answer = await send(maker, **config)

        assert (answer.status_code, answer.json()["config"]) == (201, config)
        read = await maker.http.get(f"/projects/{answer.json()['id']}")
        assert read.json()["config"] == config

    async def test_is_replaced_by_a_change(self, maker: SignedIn, project_id: str) -> None:
        url = f"/projects/{project_id}"

        other = (await maker.http.patch(url, json={"config": {"a": None}})).json()["config"]
        untouched = (await maker.http.patch(url, json={"description": "x"})).json()["config"]
        empty = (await maker.http.patch(url, json={"config": {}})).json()["config"]

        assert (other, untouched, empty) == ({"a": None}, {"a": None}, {})

    async def test_has_bounds(self, maker: SignedIn) -> None:
        around = len('{"a":""}')

        assert (await send(maker, a="x" * (64 * 1024 - around + 1))).json()["errors"][0]["code"] == "too_long"
        assert (await send(maker, **nested(17))).json()["errors"][0][
            "expected"
        ] == "JSON of at most 16 levels"
        assert (await send(maker, a="x" * (64 * 1024 - around))).status_code == 201
        assert (await send(maker, name="y", **nested(16))).status_code == 409  # the name is all that is wrong

    @pytest.mark.parametrize(
        ("training", "pointer", "code"),
        [
            ({"targt": "x"}, "/targt", "unknown_field"),
            ({"target": ""}, "/target", "too_short"),
            ({"seed": "7"}, "/seed", "wrong_type"),
            ({"seed": True}, "/seed", "wrong_type"),
            ({"seed": -1}, "/seed", "out_of_range"),
            ({"preprocessing": {"scal": True}}, "/preprocessing/scal", "unknown_field"),
            ({"preprocessing": {"max_categories": 0}}, "/preprocessing/max_categories", "out_of_range"),
            ({"algorithms": {"sklearn": "svm"}}, "/algorithms/sklearn", "unknown_value"),
            ({"algorithms": {"xgboost": "svm"}}, "/algorithms/xgboost", "unknown_value"),
            ({"parameters": {"xgbost": {}}}, "/parameters/xgbost", "unknown_value"),
            ({"parameters": {"xgboost": 1}}, "/parameters/xgboost", "wrong_type"),
            ({"parameters": {"xgboost": {"max_dept": 3}}}, "/parameters/xgboost/max_dept", "unknown_field"),
            ({"parameters": {"xgboost": {"max_depth": 99}}}, "/parameters/xgboost/max_depth", "out_of_range"),
            ({"parameters": {"a/b": {}}}, "/parameters/a~1b", "unknown_value"),
        ],
    )
    async def test_says_where_its_training_is_wrong(
        self, maker: SignedIn, project_id: str, training: dict[str, Any], pointer: str, code: str
    ) -> None:
        sent = {"config": {"training": training}}

        created = await maker.http.post("/projects", json={"name": "other", **sent})
        changed = await maker.http.patch(f"/projects/{project_id}", json=sent)

        for answer in (created, changed):
            assert answer.status_code == 422
            (issue,) = answer.json()["errors"]
            assert (issue["pointer"], issue["code"]) == (f"/config/training{pointer}", code)
        assert (await maker.http.get(f"/projects/{project_id}")).json()["config"] == {"training": DEFAULTS}

    async def test_names_everything_that_is_wrong_at_once(self, maker: SignedIn) -> None:
        answer = await send(
            maker,
            training={
                "algorithms": {"xgboost": "xgbost"},
                "parameters": {"xgboost": {"max_depth": 0, "gamma": "x"}},
            },
        )

        assert (answer.status_code, answer.json()["code"]) == (422, "config_invalid")
        assert len(answer.json()["errors"]) == 3
        assert answer.json()["errors"][0]["hint"] == "did you mean `xgboost`?"


class TestTraining:
    async def test_takes_from_the_project_what_the_request_leaves_out(
        self, maker: SignedIn, worker: Worker, dataset_id: str
    ) -> None:
        model = await new_model(maker, dataset_id=dataset_id)

        spec = await spec_of(worker, model["job_id"])
        assert (spec.target, spec.seed, spec.algorithm) == ("city", 7, "lightgbm")
        assert spec.preprocessing == {"exclude": ["age"], "scale": False}
        used = {name: spec.parameters[name] for name in ("n_estimators", "num_leaves", "learning_rate")}
        assert used == {"n_estimators": 50, "num_leaves": 7, "learning_rate": 0.1}

    async def test_prefers_the_request_value_by_value(
        self, maker: SignedIn, worker: Worker, dataset_id: str
    ) -> None:
        model = await new_model(
            maker,
            dataset_id=dataset_id,
            target="target",
            preprocessing={},
            parameters={"num_leaves": 9, "random_state": 3},
        )

        spec = await spec_of(worker, model["job_id"])
        assert (spec.target, spec.seed, spec.preprocessing) == ("target", 3, {})
        assert (spec.parameters["n_estimators"], spec.parameters["num_leaves"]) == (50, 9)

    @pytest.mark.parametrize(
        ("task", "asked", "algorithm"),
        [
            ("classification", None, "logistic_regression"),
            ("regression", None, "random_forest"),
            ("classification", "knn", "knn"),
        ],
    )
    async def test_takes_the_projects_algorithm_where_it_fits(
        self, maker: SignedIn, project_id: str, task: str, asked: str | None, algorithm: str
    ) -> None:
        model = await new_model(
            maker, project_id=project_id, framework="scikit-learn", model_type=task, algorithm=asked
        )

        assert (model["algorithm"], model["parameters"]["seed"]) == (algorithm, 7)

    async def test_again_prefers_the_request_then_the_last_time_then_the_project(
        self, maker: SignedIn, worker: Worker, dataset_id: str, project_id: str
    ) -> None:
        model = await new_model(
            maker, dataset_id=dataset_id, parameters={"learning_rate": 0.05}, preprocessing={"scale": True}
        )
        await worker.train(model["job_id"])
        changed = {
            "training": {"seed": 8, "target": "target", "parameters": {"lightgbm": {"num_leaves": 99}}}
        }
        await maker.http.patch(f"/projects/{project_id}", json={"config": changed})

        answer = await maker.http.post(
            f"/models/{model['id']}/train", json={"parameters": {"n_estimators": 9}}
        )

        spec = await spec_of(worker, answer.json()["id"])
        used = {name: spec.parameters[name] for name in ("n_estimators", "learning_rate", "num_leaves")}
        assert used == {"n_estimators": 9, "learning_rate": 0.05, "num_leaves": 7}
        assert (spec.seed, spec.target, spec.preprocessing) == (7, "city", {"scale": True})

    async def test_with_another_algorithm_begins_with_the_projects_parameters(
        self, maker: SignedIn, worker: Worker, dataset_id: str, project_id: str
    ) -> None:
        model = await new_model(
            maker,
            dataset_id=dataset_id,
            framework="scikit-learn",
            algorithm="extra_trees",
            parameters={"seed": 4, "n_estimators": 9},
        )
        await worker.train(model["job_id"])
        changed = {"training": {"parameters": {"random_forest": {"max_depth": 3}}}}
        await maker.http.patch(f"/projects/{project_id}", json={"config": changed})

        answer = await maker.http.post(
            f"/models/{model['id']}/train",
            json={"algorithm": "random_forest", "parameters": {"min_samples_leaf": 2}},
        )

        spec = await spec_of(worker, answer.json()["id"])
        used = {name: spec.parameters[name] for name in ("max_depth", "n_estimators", "min_samples_leaf")}
        assert (used, spec.seed) == ({"max_depth": 3, "n_estimators": 100, "min_samples_leaf": 2}, 4)

    async def test_blames_the_request_for_its_own_parameters(self, maker: SignedIn, project_id: str) -> None:
        body = {
            "name": "m",
            "model_type": "classification",
            "framework": "lightgbm",
            "project_id": project_id,
            "parameters": {"random_state": "x"},
        }

        answer = await maker.http.post("/models", json=body)

        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (
            422,
            "/parameters/random_state",
        )
