from typing import Any

import httpx2
import pytest

from platform_kit.contract.access import Role
from platform_kit.contract.jobs import Outcome, TrainSpec
from tests.api_server.conftest import SignIn
from tests.api_server.factories import SignedIn, Worker, failure, new_model, trained_model, upload


async def ready_dataset(who: SignedIn, worker: Worker) -> dict[str, Any]:
    dataset = await upload(who)
    await worker.profile(dataset["job_id"])
    return dataset


async def try_model(who: SignedIn, **fields: Any) -> httpx2.Response:
    body = {"name": "m", "model_type": "classification", "framework": "lightgbm", **fields}
    return await who.http.post("/models", json=body)


class TestCreate:
    async def test_without_a_dataset_only_registers(self, maker: SignedIn) -> None:
        model = await new_model(maker, name="Churn 1")

        assert (model["status"], model["version"], model["job_id"]) == ("created", None, None)
        assert (model["endpoint"], model["is_deployed"], model["algorithm"]) == ("churn-1", False, "lightgbm")

    async def test_with_a_dataset_trains_in_the_datasets_project(
        self, maker: SignedIn, worker: Worker
    ) -> None:
        project = (await maker.http.post("/projects", json={"name": "p"})).json()
        dataset = await upload(maker, project_id=project["id"])
        await worker.profile(dataset["job_id"])

        model = await new_model(
            maker, dataset_id=dataset["id"], parameters={"n_estimators": 7, "random_state": 3}
        )

        assert (model["status"], model["project_id"]) == ("training", project["id"])
        claim = await worker.claim(model["job_id"])
        assert isinstance(claim.spec, TrainSpec)
        assert (claim.spec.parameters["n_estimators"], claim.spec.seed, claim.spec.target) == (7, 3, "target")

    @pytest.mark.parametrize(
        ("framework", "algorithm"),
        [("scikit-learn", "random_forest"), ("xgboost", "xgboost"), ("lightgbm", "lightgbm")],
    )
    async def test_has_a_default_for_each_framework(
        self, maker: SignedIn, framework: str, algorithm: str
    ) -> None:
        assert (await new_model(maker, framework=framework))["algorithm"] == algorithm

    async def test_lists_the_valid_frameworks_algorithms_and_parameters(self, maker: SignedIn) -> None:
        framework = (await try_model(maker, framework="tensorflow")).json()
        algorithm = (await try_model(maker, algorithm="random_forest")).json()
        parameter = (await try_model(maker, parameters={"n_estimatrs": 5, "num_leaves": 1})).json()

        assert "'scikit-learn', 'xgboost' or 'lightgbm'" in framework["errors"][0]["expected"]
        assert "valid are: lightgbm" in algorithm["detail"]
        assert [(each["field"], each["code"]) for each in parameter["errors"]] == [
            ("n_estimatrs", "unknown_field"),
            ("num_leaves", "out_of_range"),
        ]
        assert "n_estimators" in parameter["detail"]
        assert parameter["errors"][0]["hint"] == "did you mean `n_estimators`?"

    async def test_lists_the_columns_when_the_target_is_none_of_them(
        self, maker: SignedIn, worker: Worker
    ) -> None:
        dataset = await ready_dataset(maker, worker)

        answer = await try_model(maker, dataset_id=dataset["id"], target="churn")

        assert (answer.status_code, answer.json()["code"]) == (422, "target_missing")
        assert "age, city, target" in answer.json()["detail"]
        assert (await maker.http.get("/models")).json()["total"] == 0

    async def test_refuses_regression_on_words(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await ready_dataset(maker, worker)

        answer = await try_model(maker, dataset_id=dataset["id"], model_type="regression")

        assert (answer.status_code, answer.json()["code"]) == (422, "target_unusable")

    async def test_refuses_a_rejected_dataset_with_its_reason(self, maker: SignedIn, worker: Worker) -> None:
        dataset = await upload(maker)
        claim = await worker.claim(dataset["job_id"])
        await worker.finish(
            claim, Outcome.FAILED, error=failure("ragged_row", "Line 2 is short.", status=422)
        )

        answer = await try_model(maker, dataset_id=dataset["id"])

        assert (answer.status_code, answer.json()["code"]) == (409, "dataset_not_ready")
        assert "Line 2 is short." in answer.json()["detail"]

    async def test_keeps_names_apart_in_a_project_and_endpoints_on_the_platform(
        self, maker: SignedIn, other: SignedIn
    ) -> None:
        assert (await try_model(maker)).json()["endpoint"] == "m"

        assert (await try_model(maker)).json()["code"] == "model_name_taken"
        assert (await try_model(other)).json()["endpoint"] == "m-2"

    async def test_keeps_to_who_may(
        self, maker: SignedIn, other: SignedIn, sign_in: SignIn, client: httpx2.AsyncClient, worker: Worker
    ) -> None:
        dataset = await ready_dataset(maker, worker)
        reader = await sign_in(Role.USER)

        assert (await client.post("/models", json={})).status_code == 401
        assert (await try_model(reader)).status_code == 403
        assert (await try_model(other, dataset_id=dataset["id"])).status_code == 404
        assert (await try_model(other, project_id=dataset["project_id"])).status_code == 404

    async def test_repeated_with_a_key_is_one_model_and_one_job(
        self, maker: SignedIn, worker: Worker
    ) -> None:
        dataset = await ready_dataset(maker, worker)
        maker.http.headers["Idempotency-Key"] = "k"

        first, again = (
            await try_model(maker, dataset_id=dataset["id"]),
            await try_model(maker, dataset_id=dataset["id"]),
        )

        assert first.json() == again.json()
        assert (await maker.http.get("/jobs", params={"kind": "train"})).json()["total"] == 1


class TestTrain:
    async def test_makes_the_next_version(self, maker: SignedIn, worker: Worker) -> None:
        model = await trained_model(maker, worker)

        answer = await maker.http.post(
            f"/models/{model['id']}/train", json={"parameters": {"n_estimators": 9}}
        )

        assert answer.status_code == 202
        assert answer.headers["Location"] == f"/api/v1/jobs/{answer.json()['id']}"
        await worker.train(answer.json()["id"])
        again = (await maker.http.get(f"/models/{model['id']}")).json()
        assert (again["version"], again["status"], again["parameters"]["n_estimators"]) == (2, "trained", 9)

    async def test_that_fails_leaves_the_version_before(self, maker: SignedIn, worker: Worker) -> None:
        model = await trained_model(maker, worker)
        job_id = (await maker.http.post(f"/models/{model['id']}/train", json={})).json()["id"]
        await worker.finish(
            await worker.claim(job_id), Outcome.FAILED, error=failure("fit_failed", status=422)
        )

        found = (await maker.http.get(f"/models/{model['id']}")).json()

        assert (found["status"], found["version"], found["error"]["code"]) == ("failed", 1, "fit_failed")

    async def test_without_any_dataset_says_what_to_send(self, maker: SignedIn) -> None:
        model = await new_model(maker)

        answer = await maker.http.post(f"/models/{model['id']}/train", json={})

        assert (answer.status_code, answer.json()["code"]) == (422, "nothing_to_train_on")

    async def test_of_a_foreign_model_is_not_found(self, maker: SignedIn, other: SignedIn) -> None:
        model = await new_model(maker)

        assert (await other.http.post(f"/models/{model['id']}/train", json={})).status_code == 404

    async def test_cancelled_goes_back_to_what_was(self, maker: SignedIn, worker: Worker) -> None:
        model = await trained_model(maker, worker)
        job_id = (await maker.http.post(f"/models/{model['id']}/train", json={})).json()["id"]

        await maker.http.post(f"/jobs/{job_id}/cancel")

        found = (await maker.http.get(f"/models/{model['id']}")).json()
        assert (found["status"], found["version"], found["error"]["code"]) == ("trained", 1, "cancelled")


class TestAlgorithms:
    async def test_names_every_promised_one_with_its_parameters(self, client: httpx2.AsyncClient) -> None:
        found = {each["name"]: each for each in (await client.get("/algorithms")).json()["items"]}

        assert set(found) == set(
            [
                "logistic_regression",
                "linear_regression",
                "ridge",
                "lasso",
                "elastic_net",
                "random_forest",
                "extra_trees",
                "hist_gradient_boosting",
                "knn",
                "svm",
                "naive_bayes",
                "mlp",
                "xgboost",
                "lightgbm",
                "dummy",
            ]
        )
        rounds = next(each for each in found["xgboost"]["parameters"] if each["name"] == "n_estimators")
        assert (rounds["type"], rounds["default"], rounds["minimum"], rounds["unit"]) == (
            "integer",
            100,
            1,
            "rounds",
        )
