"""What a deployment makes of the numbers of a model; calculated by hand."""

import itertools
from typing import Any

import pytest

from ml_service.artifacts.predictor import Scored
from ml_service.serving.finishing import Finished, Finishing
from platform_kit.contract.artifact import Label
from platform_kit.contract.serving_options import ServingOptions

NO_YES: list[Label] = ["no", "yes"]


def finishing(classes: list[Label] | None = None, **options: Any) -> Finishing:
    return Finishing(ServingOptions.model_validate(options), NO_YES if classes is None else classes)


def finished(scores: list[float], classes: list[Label] | None = None, **options: Any) -> Finished:
    """Of a model that answers its likeliest class."""
    return finishing(classes, **options).finished(Scored(scores.index(max(scores)), scores))


class TestWithoutOptions:
    def test_are_the_answers_of_the_model_itself(self) -> None:
        assert finished([0.4, 0.6]) == Finished("yes", 0.6, {"no": 0.4, "yes": 0.6})
        assert finished([0.6, 0.4]) == Finished("no", 0.6, {"no": 0.6, "yes": 0.4})

    def test_a_tie_is_decided_as_the_model_decided_it(self) -> None:
        scored = [Scored(winner, [0.5, 0.5]) for winner in (0, 1)]

        assert [finishing().finished(each).prediction for each in scored] == ["no", "yes"]
        assert [finishing().winner(each) for each in scored] == [0, 1]

    @pytest.mark.parametrize(
        ("classes", "keys"),
        [
            ([False, True], ["false", "true"]),
            ([0, 1], ["0", "1"]),
            ([0.5, 1.5], ["0.5", "1.5"]),
            (["a", ""], ["a", ""]),
        ],
    )
    def test_keep_the_type_of_a_class(self, classes: list[Label], keys: list[str]) -> None:
        found = finished([0.25, 0.75], classes)

        assert (found.prediction, found.probabilities) == (
            classes[1],
            dict(zip(keys, [0.25, 0.75], strict=True)),
        )
        assert type(found.prediction) is type(classes[1])

    def test_of_a_regression_are_the_number_alone(self) -> None:
        numbers = Finishing(ServingOptions(), None)

        assert numbers.finished(Scored(None, [2.5])) == Finished(2.5, None, None)
        assert numbers.winner(Scored(None, [2.5])) is None


class TestThreshold:
    @pytest.mark.parametrize(
        ("yes", "prediction"),
        [(0.29999999999999993, "no"), (0.3, "yes"), (0.31, "yes"), (0.0, "no"), (1.0, "yes")],
    )
    def test_is_reached_from_exactly_there_on(self, yes: float, prediction: str) -> None:
        assert finished([1 - yes, yes], threshold=0.3).prediction == prediction

    @pytest.mark.parametrize(("no", "prediction"), [(0.8, "no"), (0.7999, "yes")])
    def test_is_about_the_class_that_is_named(self, no: float, prediction: str) -> None:
        found = finished([no, 1 - no], threshold=0.8, positive_class="no")

        assert found.prediction == prediction

    def test_may_name_a_class_that_is_no_text(self) -> None:
        for positive, at in ((True, "true"), (False, "false")):
            found = finished([0.5, 0.5], [False, True], threshold=0.5, positive_class=positive)

            assert (found.prediction, (found.probabilities or {})[at]) == (positive, 0.5)

    def test_confidence_is_that_in_what_is_answered(self) -> None:
        found = finished([0.65, 0.35], threshold=0.3)

        assert (found.prediction, found.confidence) == ("yes", 0.35)
        assert found.probabilities == {"no": 0.65, "yes": 0.35}

    def test_decides_which_class_is_explained(self) -> None:
        scored = Scored(0, [0.65, 0.35])

        assert (finishing().winner(scored), finishing(threshold=0.3).winner(scored)) == (0, 1)

    def test_does_not_follow_the_model_where_it_decides_ties_otherwise(self) -> None:
        assert [
            finishing(threshold=0.5).finished(Scored(winner, [0.5, 0.5])).prediction for winner in (0, 1)
        ] == [
            "yes",
            "yes",
        ]


class TestLabels:
    def test_are_answered_instead_of_the_class(self) -> None:
        found = finished([0.4, 0.6], labels={"yes": "will buy", "no": 0})

        assert found == Finished("will buy", 0.6, {"0": 0.4, "will buy": 0.6})

    def test_may_name_some_classes_only(self) -> None:
        assert finished([0.4, 0.6], labels={"no": False}) == Finished("yes", 0.6, {"false": 0.4, "yes": 0.6})

    def test_are_found_by_how_json_spells_a_class(self) -> None:
        assert finished([0.4, 0.6], [False, True], labels={"true": "on"}).prediction == "on"
        assert finished([0.4, 0.6], [1, 2], labels={"2": "two"}).prediction == "two"

    def test_that_change_places_are_not_mixed_up(self) -> None:
        found = finished([0.4, 0.6], labels={"yes": "no", "no": "yes"})

        assert found == Finished("no", 0.6, {"yes": 0.4, "no": 0.6})

    def test_that_are_equal_count_together(self) -> None:
        found = finished([0.5, 0.3, 0.2], ["a", "b", "c"], labels={"b": "other", "c": "other"})

        assert found.probabilities == {"a": 0.5, "other": 0.5}
        assert found.prediction == "a"

    def test_that_equal_another_class_count_with_it(self) -> None:
        found = finished([0.1, 0.3, 0.6], ["a", "b", "c"], labels={"c": "a"})

        assert (found.prediction, found.probabilities) == ("a", {"a": 0.7, "b": 0.3})

    def test_do_not_change_what_a_threshold_is_about(self) -> None:
        options: dict[str, Any] = {
            "threshold": 0.3,
            "positive_class": "yes",
            "labels": {"yes": "no", "no": "yes"},
        }

        assert finished([0.65, 0.35], **options).prediction == "no"


class TestAbstaining:
    @pytest.mark.parametrize(
        ("yes", "abstains"), [(0.6999999, True), (0.7, False), (0.71, False), (0.5, True)]
    )
    def test_begins_below_the_limit(self, yes: float, abstains: bool) -> None:
        found = finished([1 - yes, yes], abstain_below=0.7)

        assert (found.abstained, found.prediction) == (abstains, None if abstains else "yes")

    @pytest.mark.parametrize("answer", ["ask a person", 0, False, -1.5, ""])
    def test_answers_what_was_chosen_for_it(self, answer: Label) -> None:
        found = finished([0.5, 0.5], abstain_below=0.6, abstain_answer=answer)

        assert (found.prediction, found.abstained, found.confidence) == (answer, True, 0.5)
        assert type(found.prediction) is type(answer)
        assert found.probabilities == {"no": 0.5, "yes": 0.5}

    def test_looks_at_the_confidence_in_what_a_threshold_decided(self) -> None:
        found = finished([0.65, 0.35], threshold=0.3, abstain_below=0.5)

        assert (found.prediction, found.confidence, found.abstained) == (None, 0.35, True)

    def test_looks_at_the_number_before_it_is_rounded(self) -> None:
        found = finished([0.304, 0.696], abstain_below=0.7, decimals=1)

        assert (found.abstained, found.confidence) == (True, 0.7)


class TestDecimals:
    def test_round_what_is_answered(self) -> None:
        found = finished([0.33333, 0.66667], decimals=2)

        assert found == Finished("yes", 0.67, {"no": 0.33, "yes": 0.67})

    def test_round_a_sum_once(self) -> None:
        """0.14 and 0.14 are 0.28, which is 0.3; rounded first they were 0.2."""
        found = finished([0.72, 0.14, 0.14], ["a", "b", "c"], labels={"b": "x", "c": "x"}, decimals=1)

        assert found.probabilities == {"a": 0.7, "x": 0.3}

    def test_do_not_move_a_threshold(self) -> None:
        assert finished([0.704, 0.296], threshold=0.3, decimals=1).prediction == "no"

    @pytest.mark.parametrize(
        ("value", "decimals", "answer"),
        [(2.345678, 2, 2.35), (-2.5, 0, -2.0), (1e300, 3, 1e300), (123.456, 12, 123.456)],
    )
    def test_round_a_predicted_number(self, value: float, decimals: int, answer: float) -> None:
        numbers = Finishing(ServingOptions(decimals=decimals), None)

        found = numbers.finished(Scored(None, [value]))

        assert (found.prediction, type(found.prediction)) == (answer, float)


class TestWinner:
    def test_is_the_class_that_is_answered_under_any_options(self) -> None:
        some: dict[str, list[dict[str, Any]]] = {
            "threshold": [{}, {"threshold": 0.3}, {"threshold": 0.7, "positive_class": "no"}],
            "labels": [{}, {"labels": {"yes": "1", "no": "0"}}],
            "decimals": [{}, {"decimals": 1}],
        }
        for chosen, yes in itertools.product(itertools.product(*some.values()), (0.1, 0.3, 0.5, 0.7, 0.95)):
            options = {name: value for each in chosen for name, value in each.items()}
            made, scored = finishing(**options), Scored(int(yes > 0.5), [1 - yes, yes])

            place = made.winner(scored)

            assert place is not None
            assert made.labels[place] == made.finished(scored).prediction
