"""The options of a deployment: what they may be, and whether they make sense for a model."""

from typing import Any

import pytest
from pydantic import ValidationError

from platform_kit.contract.artifact import Label, Task
from platform_kit.contract.inputs import FieldContract, InputContract, Policy
from platform_kit.contract.schema import ColumnType
from platform_kit.contract.serving_options import ServingOptions

CONTRACT = InputContract(
    fields=[
        FieldContract(name="age", type=ColumnType.INTEGER, nullable=False),
        FieldContract(name="income", type=ColumnType.DECIMAL, nullable=True),
        FieldContract(name="a/b", type=ColumnType.STRING, nullable=False, categories=["x"]),
        FieldContract(name="member", type=ColumnType.BOOLEAN, nullable=False),
        FieldContract(name="since", type=ColumnType.DATETIME, nullable=False),
    ]
)

NAN, INFINITY = float("nan"), float("inf")
NONSENSE: dict[str, list[Any]] = {
    "threshold": ["0.3", True, 0, 1, -1, NAN, [0.5]],
    "abstain_below": ["0.3", True, 0, 1.1, INFINITY],
    "decimals": ["2", 2.5, True, -1, 13],
    "positive_class": [NAN, ["yes"], "x" * 1001],
    "abstain_answer": [INFINITY, {}, "x" * 1001],
    "labels": [{"a": None}, {"a": NAN}, {str(number): 1 for number in range(1001)}],
    "fields": [{"a": {"on_missing": "drop"}}, {"a": {"x": 1}}, {"a": None}, []],
    "on_unknown_field": ["impute", None, True],
    "pinned": [1, "true", None],
    "output_name": ["", "x" * 101, 1],
    "treshold": [0.3],
}


def found(
    options: dict[str, Any], *, task: Task = Task.CLASSIFICATION, classes: list[Label] | None = None
) -> list[tuple[str, str]]:
    known = ["no", "yes"] if classes is None and task is Task.CLASSIFICATION else classes
    issues = ServingOptions.model_validate(options).issues(contract=CONTRACT, task=task, classes=known)
    return [(each.pointer, each.code) for each in issues]


class TestServingOptions:
    def test_left_out_are_nothing(self) -> None:
        assert ServingOptions().model_dump(mode="json", exclude_defaults=True) == {}

    @pytest.mark.parametrize(
        "options",
        [
            {"threshold": 0.5, "positive_class": True},
            {"labels": {"0": "no", "1": 1, "true": 1.5, "x": False}},
            {
                "fields": {"age": {"on_missing": "warn", "on_out_of_range": "reject"}},
                "on_unknown_field": "warn",
            },
            {"abstain_below": 1, "abstain_answer": "", "decimals": 0, "pinned": True},
        ],
    )
    def test_come_back_as_they_were_written(self, options: dict[str, Any]) -> None:
        read = ServingOptions.model_validate(options)

        dumped = read.model_dump(mode="json", exclude_defaults=True)

        assert repr(dumped).replace("1.0", "1") == repr(options)
        assert ServingOptions.model_validate(dumped) == read

    @pytest.mark.parametrize(
        ("name", "value"), [(name, each) for name, values in NONSENSE.items() for each in values]
    )
    def test_take_nothing_for_something_else(self, name: str, value: object) -> None:
        with pytest.raises(ValidationError):
            ServingOptions.model_validate({name: value})


class TestAppliedTo:
    def test_changes_the_policies_that_are_named(self) -> None:
        options = ServingOptions.model_validate(
            {"fields": {"age": {"on_missing": "impute"}}, "on_unknown_field": "warn"}
        )

        applied = options.applied_to(CONTRACT)

        assert applied.fields[0] == CONTRACT.fields[0].model_copy(update={"on_missing": Policy.IMPUTE})
        assert applied.fields[1:] == CONTRACT.fields[1:]
        assert applied.on_unknown_field is Policy.WARN

    def test_changes_nothing_by_default(self) -> None:
        assert ServingOptions().applied_to(CONTRACT) == CONTRACT


class TestIssues:
    @pytest.mark.parametrize(
        ("options", "issues"),
        [
            ({}, []),
            ({"threshold": 0.3}, []),
            ({"threshold": 0.3, "positive_class": "no", "labels": {"no": 0, "yes": 1}}, []),
            ({"abstain_below": 0.6, "abstain_answer": "?"}, []),
            ({"threshold": 0.3, "positive_class": "No"}, [("/config/positive_class", "unknown_value")]),
            (
                {"labels": {"no": 0, "y": 1, "z": 1}},
                [(f"/config/labels/{each}", "unknown_value") for each in "yz"],
            ),
            (
                {"positive_class": "yes", "abstain_answer": "?"},
                [("/config/threshold", "missing_field"), ("/config/abstain_below", "missing_field")],
            ),
        ],
        ids=str,
    )
    def test_of_classes(self, options: dict[str, Any], issues: list[tuple[str, str]]) -> None:
        assert found(options) == issues

    def test_spell_classes_as_keys_of_json(self) -> None:
        options = {"threshold": 0.3, "positive_class": True, "labels": {"true": "good", "false": "bad"}}

        assert found(options, classes=[False, True]) == []
        assert found({**options, "positive_class": 1}, classes=[False, True]) == [
            ("/config/positive_class", "unknown_value")
        ]

    @pytest.mark.parametrize("classes", [["a", "b", "c"], ["a"], []])
    def test_of_a_threshold_where_there_are_not_two(self, classes: list[Label]) -> None:
        assert found({"threshold": 0.3}, classes=classes) == [("/config/threshold", "unknown_value")]

    def test_of_whatever_is_about_classes_for_a_regression(self) -> None:
        options = {
            "threshold": 0.3,
            "positive_class": "yes",
            "labels": {"yes": 1},
            "abstain_below": 0.5,
            "abstain_answer": "?",
            "decimals": 2,
        }

        assert {pointer for pointer, _ in found(options, task=Task.REGRESSION)} == {
            f"/config/{name}" for name in options if name != "decimals"
        }
        assert found({"decimals": 2, "output_name": "price"}, task=Task.REGRESSION) == []

    def test_of_fields(self) -> None:
        every = {"on_missing": "impute", "on_out_of_range": "reject", "on_unknown_category": "reject"}
        names = ("age", "income", "a/b", "member", "since", "incom")

        useless = found({"fields": dict.fromkeys(names, every)})

        assert useless == [
            ("/config/fields/age/on_unknown_category", "unknown_value"),
            ("/config/fields/income/on_unknown_category", "unknown_value"),
            ("/config/fields/a~1b/on_out_of_range", "unknown_value"),
            ("/config/fields/member/on_out_of_range", "unknown_value"),
            ("/config/fields/member/on_unknown_category", "unknown_value"),
            ("/config/fields/since/on_unknown_category", "unknown_value"),
            ("/config/fields/incom", "unknown_field"),
        ]

    def test_say_what_would_be_right(self) -> None:
        options = ServingOptions.model_validate({"positive_class": "no", "fields": {"ag": {}}})

        unknown, missing = options.issues(contract=CONTRACT, task=Task.CLASSIFICATION, classes=["no", "yes"])

        assert (unknown.field, unknown.got) == ("ag", '"ag"')
        assert unknown.expected == "one of: age, income, a/b, member, since"
        assert (missing.field, missing.got) == ("threshold", None)
        assert missing.expected == "a number: `positive_class` has no effect without it"
