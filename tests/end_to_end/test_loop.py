"""The loop, for each framework and task, over HTTP: what is deployed answers as the training library did."""

import pytest

from tests.verify.calling import Caller
from tests.verify.loop import FLIGHT_TIMES, Json, body_of, deploy, new_model, trained, upload
from tests.verify.scene import Scene

pytestmark = pytest.mark.timeout(180)

FRAMEWORKS = ["scikit-learn", "xgboost", "lightgbm"]
ROUNDS = {"n_estimators": 40, "seed": 3}
NUMBERS = {"r2", "rmse", "mae"}
CLASSES = {"accuracy", "balanced_accuracy", "f1_macro", "log_loss", "roc_auc"}


@pytest.fixture(scope="module")
def flight_times(maker: Caller) -> Json:
    return upload(maker, FLIGHT_TIMES.read_bytes(), name="flight times", file_name="flight_times.csv")


class TestLoop:
    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_classification(self, scene: Scene, maker: Caller, framework: str) -> None:
        wishes = {"name": f"class by {framework}", "framework": framework, "parameters": ROUNDS}
        model = trained(maker, new_model(maker, scene.flights["id"], **wishes))

        assert model["metrics"].keys() >= CLASSES
        assert model["metrics"]["roc_auc"] > 0.8
        assert_answers_as_the_library_did(maker, model)

    @pytest.mark.parametrize("framework", FRAMEWORKS)
    def test_regression(self, maker: Caller, flight_times: Json, framework: str) -> None:
        wishes = {"model_type": "regression", "framework": framework, "target": "air_time_minutes"}
        name = f"number by {framework}"
        model = trained(maker, new_model(maker, flight_times["id"], name=name, parameters=ROUNDS, **wishes))

        assert model["metrics"].keys() >= NUMBERS
        assert model["metrics"]["r2"] > 0.9
        assert_answers_as_the_library_did(maker, model)


def assert_answers_as_the_library_did(maker: Caller, model: Json) -> None:
    """The manifest holds rows with the library's own answers; the endpoint must give the same."""
    endpoint = deploy(maker, model)["endpoint"]
    manifest = body_of(maker.api("GET", f"/models/{model['id']}/versions/1"))["manifest"]
    golden, tolerance = manifest["golden_rows"], manifest["tolerance"]
    assert len(golden) >= 10

    rows = [each["input"] for each in golden]
    answers = body_of(maker.predict_batch(endpoint, rows, return_probabilities=True))["predictions"]

    for expected, answer in zip(golden, answers, strict=True):
        if model["model_type"] == "regression":
            assert is_equal(answer["prediction"], expected["prediction"], tolerance)
            assert answer["confidence_score"] is None
            continue
        assert answer["prediction"] == expected["prediction"]
        assert answer["probabilities"].keys() == expected["probabilities"].keys()
        for label, share in expected["probabilities"].items():
            assert is_equal(answer["probabilities"][label], share, tolerance)


def is_equal(found: float, wanted: float, tolerance: float) -> bool:
    return abs(found - wanted) <= tolerance * max(1.0, abs(wanted))
