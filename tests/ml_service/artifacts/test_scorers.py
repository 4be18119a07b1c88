"""Linear models by our own sums, against scikit-learn's methods."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge, SGDClassifier

from ml_service.artifacts.model_files import load, write
from ml_service.artifacts.scorers import Floats, LinearScorer, SklearnScorer
from platform_kit.contract.algorithms import Framework
from platform_kit.contract.artifact import Task
from tests.ml_service.artifacts.test_predictor import stored
from tests.ml_service.factories import people_table, spec

REGRESSIONS = [
    LinearRegression(),
    LinearRegression(fit_intercept=False),
    Ridge(),
    Ridge(fit_intercept=False),
    Lasso(alpha=0.1),
    ElasticNet(alpha=0.1),
]


def rows(columns: int, count: int = 500) -> Floats:
    """Columns of very different sizes."""
    random = np.random.default_rng(columns)
    return random.normal(size=(count, columns)) * random.lognormal(sigma=2, size=columns)


def classifier(columns: int, classes: int) -> tuple[Any, LinearScorer]:
    matrix = rows(columns)
    labels = np.digitize(matrix[:, 0], np.quantile(matrix[:, 0], np.arange(1, classes) / classes))
    model = LogisticRegression(max_iter=50, C=0.1).fit(matrix / matrix.std(axis=0), labels)
    return model, LinearScorer(model, Task.CLASSIFICATION)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
class TestLinearScorer:
    @pytest.mark.parametrize("estimator", REGRESSIONS, ids=repr)
    @pytest.mark.parametrize("columns", [1, 20])
    def test_gives_the_librarys_values(self, estimator: Any, columns: int) -> None:
        matrix = rows(columns)
        model = estimator.fit(matrix, matrix.sum(axis=1) + 7)

        found = LinearScorer(model, Task.REGRESSION).scores(matrix)

        assert found.shape == (500,)
        np.testing.assert_allclose(found, model.predict(matrix), rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("classes", [2, 3, 7])
    @pytest.mark.parametrize("columns", [1, 20])
    def test_gives_the_librarys_probabilities_and_labels(self, columns: int, classes: int) -> None:
        model, scorer = classifier(columns, classes)
        matrix = rows(columns)

        found = scorer.scores(matrix)

        np.testing.assert_allclose(found, model.predict_proba(matrix), rtol=0, atol=1e-12)
        assert scorer.winners(matrix, found).tolist() == model.predict(matrix).tolist()

    @pytest.mark.parametrize("classes", [2, 3])
    def test_gives_finite_probabilities_for_rows_that_are_far_away(self, classes: int) -> None:
        model, scorer = classifier(5, classes)
        matrix = rows(5, 40) * 1e9

        found = scorer.scores(matrix)

        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, model.predict_proba(matrix), rtol=0, atol=1e-12)

    @pytest.mark.parametrize("columns", [1, 3, 8, 20, 129, 300])
    @pytest.mark.parametrize("classes", [2, 3, 9])
    def test_answers_a_row_to_the_bit_as_when_it_is_asked_with_others(
        self, columns: int, classes: int
    ) -> None:
        _, scorer = classifier(columns, classes)
        matrix = rows(columns)
        together = scorer.scores(matrix)

        for start, end in ((0, 1), (1, 2), (3, 5), (7, 40), (100, 229), (499, 500)):
            some = scorer.scores(matrix[start:end])
            assert some.tolist() == together[start:end].tolist()

    def test_decides_a_tie_as_the_library_does(self) -> None:
        model, scorer = classifier(2, 3)
        model.coef_, model.intercept_ = np.zeros((3, 2)), np.array([0.0, 1.0, 1.0])
        scorer = LinearScorer(model, Task.CLASSIFICATION)
        matrix = np.ones((2, 2))

        assert (
            scorer.winners(matrix, scorer.scores(matrix)).tolist() == model.predict(matrix).tolist() == [1, 1]
        )


class TestLoad:
    @pytest.mark.parametrize(
        "algorithm", ["logistic_regression", "linear_regression", "ridge", "lasso", "elastic_net"]
    )
    def test_takes_linear_models_for_what_they_are(self, tmp_path: Any, algorithm: str) -> None:
        _, manifest = stored(people_table(tmp_path, 60), spec(algorithm), tmp_path)

        assert isinstance(load(manifest, tmp_path), LinearScorer)

    def test_asks_the_library_where_a_linear_model_does_more(self, tmp_path: Any) -> None:
        _, manifest = stored(people_table(tmp_path, 60), spec("dummy"), tmp_path / "other")
        model = SGDClassifier(loss="log_loss").fit([[0.0], [1.0]], [0, 1])
        write(model, Framework.SCIKIT_LEARN, tmp_path)

        assert type(load(manifest, tmp_path)) is SklearnScorer
