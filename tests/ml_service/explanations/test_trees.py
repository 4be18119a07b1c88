import numpy as np
import pytest

from ml_service.explanations.problems import NotExplainable
from ml_service.explanations.trees import settled


class TestSettled:
    def test_gives_each_number_its_share_of_what_is_missing_and_leaves_a_0_alone(self) -> None:
        shares = np.array([[[300.0, 0.0, -100.0, 600.0]]])

        found = settled(shares, np.array([[800.01]]))

        assert found[0, 0].tolist() == pytest.approx([300.003, 0.0, -99.999, 600.006], abs=1e-12)
        assert found[0, 0, 1] == 0.0

    def test_leaves_what_is_all_0(self) -> None:
        assert settled(np.zeros((1, 1, 3)), np.zeros((1, 1))).tolist() == [[[0.0, 0.0, 0.0]]]

    @pytest.mark.parametrize("raw", [801.0, 0.0, np.nan])
    def test_refuses_more_than_roundings(self, raw: float) -> None:
        with pytest.raises(NotExplainable, match="do not add up"):
            settled(np.array([[[300.0, 0.0, -100.0, 600.0]]]), np.array([[raw]]))
