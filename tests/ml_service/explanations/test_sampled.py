"""The approximation, against Shapley's formula over every subset of the columns."""

import itertools
import math
import re

import numpy as np
import pytest

from ml_service.artifacts.scorers import Floats
from ml_service.explanations.problems import NotExplainable
from ml_service.explanations.sampled import MOST_COLUMNS, SampledMethod
from platform_kit.contract.artifact import Task
from platform_kit.contract.inputs import RowChecker, Value
from platform_kit.contract.prediction import Scale
from tests.ml_service.explanations.conftest import Trained, Training


def by_the_formula(model: Trained, row: list[Value], place: int) -> dict[str, float]:
    """Source: Shapley, "A value for n-person games", 1953; a game's worth is the mean over the golden rows."""
    names, blocks = model.manifest.contract.names, model.predictor.encoder.blocks
    checker = RowChecker(model.manifest.contract)
    others = model.matrix(
        [checker.check(each.input, pointer=()).values for each in model.manifest.golden_rows]
    )
    (own,) = model.matrix([row])

    def worth(members: frozenset[int]) -> float:
        mixed = others.copy()
        for member in members:
            mixed[:, blocks[member]] = own[blocks[member]]
        scores = model.predictor.scorer.scores(mixed)
        return float((scores if scores.ndim == 1 else scores[:, place]).mean())

    count = len(names)
    subsets = [
        frozenset(each) for size in range(count + 1) for each in itertools.combinations(range(count), size)
    ]
    worths = {each: worth(each) for each in subsets}
    return {
        name: sum(
            math.factorial(len(each))
            * math.factorial(count - len(each) - 1)
            / math.factorial(count)
            * (worths[each | {column}] - worths[each])
            for each in subsets
            if column not in each
        )
        for column, name in enumerate(names)
    }


class Product:
    """A model of two columns whose Shapley values are known: half the product for each, against zeros."""

    feature_count: int | None = None

    def scores(self, matrix: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            product: Floats = matrix[:, 0] * matrix[:, 1]
        return product

    def winners(self, matrix: Floats, scores: Floats) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        raise AssertionError("a regression has no classes")


def product(columns: int = 2, background: int = 1) -> SampledMethod:
    zeros = np.zeros((background, columns))
    blocks = [slice(number, number + 1) for number in range(columns)]
    return SampledMethod(Product(), Task.REGRESSION, background=zeros, blocks=blocks)


class TestAttributions:
    @pytest.mark.parametrize(
        ("algorithm", "target"),
        [("random_forest", "bought"), ("random_forest", "level"), ("knn", "spent"), ("mlp", "bought")],
    )
    def test_are_as_near_to_the_formula_as_the_note_says(
        self, trained: Training, algorithm: str, target: str
    ) -> None:
        model = trained(algorithm, target)
        rows = model.rows(8)

        found = model.explained(rows)

        for row, each in zip(rows, found, strict=True):
            place = 0 if model.manifest.classes is None else model.manifest.classes.index(each.explains)  # type: ignore[arg-type]
            expected = by_the_formula(model, row, place)
            stated = re.search(r"up to about (\S+)\.$", each.note or "")
            assert stated is not None
            largest = max(abs(value) for value in expected.values())
            for name, value in expected.items():
                error = abs(each.contributions[name] - value)
                assert error <= 2 * float(stated[1])
                assert error <= 0.1 * largest

    def test_share_what_two_columns_do_together(self) -> None:
        (found,) = product().attributions(np.array([[3.0, 4.0]]), None)

        assert (found.base, found.contributions, found.raw) == (0.0, [6.0, 6.0], 12.0)

    def test_are_exactly_0_for_a_column_that_is_not_read(self) -> None:
        (found,) = product(4).attributions(np.array([[3.0, 4.0, 5.0, 6.0]]), None)

        assert found.contributions[2:] == [0.0, 0.0]
        assert sum(found.contributions) == pytest.approx(12.0)

    def test_are_the_whole_difference_where_there_is_one_column(self) -> None:
        blocks = [slice(0, 2)]
        method = SampledMethod(Product(), Task.REGRESSION, background=np.ones((3, 2)), blocks=blocks)

        (found,) = method.attributions(np.array([[3.0, 4.0]]), None)

        assert (found.base, found.contributions, found.raw) == (1.0, [11.0], 12.0)
        assert method.scale is Scale.TARGET

    def test_are_the_same_from_another_copy_of_the_model(self) -> None:
        row = np.array([[3.0, 4.0, 5.0]])

        assert product(3).attributions(row, None) == product(3).attributions(row, None)

    def test_say_how_they_were_made(self) -> None:
        (found,) = product(3, background=2).attributions(np.array([[3.0, 4.0, 5.0]]), None)

        assert found.note is not None
        assert re.match(
            r"An approximation: \d+ random orders of the columns, compared with 2 held-out rows\. ",
            found.note,
        )

    def test_are_refused_where_the_model_has_no_number(self) -> None:
        with pytest.raises(NotExplainable, match="finite"):
            product().attributions(np.array([[np.inf, 4.0]]), None)

    def test_are_refused_where_there_are_too_many_columns(self) -> None:
        assert product(MOST_COLUMNS).attributions(np.ones((1, MOST_COLUMNS)), None)[0].raw == 1.0
        with pytest.raises(NotExplainable, match="501 columns"):
            product(MOST_COLUMNS + 1)
