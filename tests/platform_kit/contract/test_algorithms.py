import pytest

from platform_kit.contract.algorithms import (
    ALGORITHMS,
    Algorithm,
    Framework,
    ParameterType,
    UnknownAlgorithm,
    check_parameters,
    default_algorithm,
    find_algorithm,
)
from platform_kit.contract.artifact import Task


@pytest.fixture
def forest() -> Algorithm:
    return find_algorithm("random_forest", framework=Framework.SCIKIT_LEARN, task=Task.REGRESSION)


class TestTable:
    @pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda each: each.name)
    def test_defaults_are_within_their_own_bounds(self, algorithm: Algorithm) -> None:
        defaults = {each.name: each.default for each in algorithm.parameters}

        values, seed, issues = check_parameters(algorithm, defaults)

        assert (values, seed, issues) == (defaults, 0, [])

    def test_numbers_say_their_bounds(self) -> None:
        for algorithm in ALGORITHMS:
            for each in algorithm.parameters:
                if each.type in (ParameterType.INTEGER, ParameterType.DECIMAL):
                    assert each.minimum is not None, (algorithm.name, each.name)

    @pytest.mark.parametrize("framework", Framework)
    @pytest.mark.parametrize("task", Task)
    def test_every_framework_has_a_default_for_both_tasks(self, framework: Framework, task: Task) -> None:
        assert find_algorithm(default_algorithm(framework), framework=framework, task=task)


class TestFind:
    def test_lists_what_would_fit(self) -> None:
        with pytest.raises(UnknownAlgorithm, match=r"valid are: .*ridge") as refused:
            find_algorithm("logistic_regression", framework=Framework.SCIKIT_LEARN, task=Task.REGRESSION)

        assert "naive_bayes" not in str(refused.value)


class TestCheckParameters:
    def test_fills_in_what_is_left_out(self, forest: Algorithm) -> None:
        values, seed, issues = check_parameters(forest, {"n_estimators": 7, "random_state": 5})

        assert (values["n_estimators"], values["max_depth"], seed, issues) == (7, None, 5, [])

    @pytest.mark.parametrize(
        ("given", "code"),
        [
            ({"n_estimators": 0}, "out_of_range"),
            ({"n_estimators": 1.5}, "wrong_type"),
            ({"n_estimators": "10"}, "wrong_type"),
            ({"n_estimators": True}, "wrong_type"),
            ({"n_estimators": None}, "wrong_type"),
            ({"max_features": "all"}, "unknown_value"),
            ({"n_estimator": 10}, "unknown_field"),
            ({"seed": -1}, "out_of_range"),
            ({"seed": "x"}, "out_of_range"),
            ({"seed": 2**40}, "out_of_range"),
        ],
        ids=str,
    )
    def test_names_what_is_wrong(self, forest: Algorithm, given: dict[str, object], code: str) -> None:
        (name,) = given

        (issue,) = check_parameters(forest, given)[2]

        assert (str(issue.code), issue.field, issue.pointer) == (code, name, f"/parameters/{name}")
        assert issue.expected

    @pytest.mark.parametrize("layers", [[], [0], [5] * 9, ["a"], 5, [1.5]])
    def test_knows_lists_of_integers(self, layers: object) -> None:
        network = find_algorithm("mlp", framework=Framework.SCIKIT_LEARN, task=Task.CLASSIFICATION)

        assert len(check_parameters(network, {"hidden_layer_sizes": layers})[2]) == 1
        assert check_parameters(network, {"hidden_layer_sizes": [20, 10]})[2] == []
