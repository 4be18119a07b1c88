from ml_service.explanations.attribution import without_noise


class TestWithoutNoise:
    def test_makes_roundings_0_and_keeps_the_sum(self) -> None:
        found = without_noise([1e-13, 2.0, -3.0, 1e-13, 0.0], base=1.0, raw=2e-13)

        assert found == [0.0, 2.0, -3.0 + 2e-13, 0.0, 0.0]

    def test_keeps_small_parts_of_small_scores(self) -> None:
        assert without_noise([1e-20, 1e-24], base=0.0, raw=1e-20) == [1e-20, 1e-24]

    def test_makes_all_0_where_there_is_nothing_else(self) -> None:
        assert without_noise([1e-6, -1e-6], base=5e6, raw=5e6) == [0.0, 0.0]
        assert without_noise([0.0], base=0.0, raw=0.0) == [0.0]
