import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_service.training.splitting import split


class TestSplit:
    @given(
        sizes=st.lists(st.integers(1, 30), min_size=2, max_size=8),
        fraction=st.floats(0.05, 0.9),
        seed=st.integers(0, 2**31 - 1),
    )
    def test_no_row_is_lost_and_every_class_is_learnt(
        self, sizes: list[int], fraction: float, seed: int
    ) -> None:
        values = np.repeat(np.arange(len(sizes)), sizes)

        train, test, method = split(values, by_class=True, fraction=fraction, seed=seed)

        assert sorted([*train, *test]) == list(range(len(values)))
        assert set(values[train]) == set(range(len(sizes)))
        assert method == "random" or set(values[test]) == set(range(len(sizes)))

    def test_keeps_the_shares_of_classes(self) -> None:
        values = np.array([0] * 70 + [1] * 20 + [2] * 10)

        _, test, method = split(values, by_class=True, fraction=0.2, seed=1)

        assert method == "stratified"
        assert np.bincount(values[test]).tolist() == [14, 4, 2]

    def test_a_class_of_one_row_makes_it_random(self) -> None:
        train, test, method = split(np.array([0] * 20 + [1]), by_class=True, fraction=0.2, seed=1)

        assert method == "random"
        assert (len(train), len(test)) == (17, 4)
        assert 20 in train

    def test_regression_is_random(self) -> None:
        train, test, method = split(np.arange(50.0), by_class=False, fraction=0.2, seed=1)

        assert (len(train), len(test), method) == (40, 10, "random")

    @pytest.mark.parametrize("by_class", [True, False])
    def test_the_seed_decides(self, *, by_class: bool) -> None:
        values = np.arange(200) % 2
        one, same, other = (
            split(values, by_class=by_class, fraction=0.2, seed=seed)[1] for seed in (1, 1, 2)
        )

        assert one.tolist() == same.tolist()
        assert one.tolist() != other.tolist()
