"""A row against a contract: nothing is coerced in silence, and everything wrong is named at once."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_kit.contract.inputs import FieldContract, InputContract, Policy, RowChecker
from platform_kit.contract.schema import ColumnType

CONTRACT = InputContract(
    fields=[
        FieldContract(name="age", type=ColumnType.INTEGER, nullable=False, minimum=18, maximum=90),
        FieldContract(name="income", type=ColumnType.DECIMAL, nullable=True),
        FieldContract(name="city", type=ColumnType.STRING, nullable=False, categories=["lyon", "paris"]),
        FieldContract(name="member", type=ColumnType.BOOLEAN, nullable=False),
        FieldContract(name="since", type=ColumnType.DATETIME, nullable=False),
    ]
)
ROW = {"age": 30, "income": 2.5, "city": "lyon", "member": True, "since": "2026-01-01T00:00:00Z"}


def check(**change: Any) -> Any:
    return RowChecker(CONTRACT).check({**ROW, **change}, pointer=("inputs", 2), index=2)


def codes(**change: Any) -> list[tuple[str, str | None]]:
    return [(str(each.code), each.field) for each in check(**change).errors]


class TestValues:
    def test_come_in_the_order_of_the_contract(self) -> None:
        checked = RowChecker(CONTRACT).check(dict(reversed(ROW.items())), pointer=())

        assert checked.values == [30.0, 2.5, "lyon", True, 1767225600.0]
        assert (checked.errors, checked.warnings) == ([], [])

    @pytest.mark.parametrize(
        ("change", "value"),
        [
            ({"age": 31.0}, 31.0),
            ({"income": 7}, 7.0),
            ({"income": None}, None),
            ({"since": "2026-01-01"}, 1767225600.0),
            ({"since": "2026-01-01T02:00:00+02:00"}, 1767225600.0),
        ],
        ids=str,
    )
    def test_of_one_kind_may_be_written_in_several_ways(self, change: dict[str, Any], value: Any) -> None:
        checked = check(**change)

        assert checked.errors == []
        assert value in checked.values


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"age": 30.7}, "wrong_type"),
            ({"age": "30"}, "wrong_type"),
            ({"age": True}, "wrong_type"),
            ({"age": None}, "null_not_allowed"),
            ({"age": math.nan}, "not_finite"),
            ({"income": math.inf}, "not_finite"),
            ({"income": 10**400}, "not_finite"),
            ({"member": "no"}, "wrong_type"),
            ({"member": 1}, "wrong_type"),
            ({"city": 5}, "wrong_type"),
            ({"city": None}, "null_not_allowed"),
            ({"since": "yesterday"}, "wrong_type"),
            ({"since": 1767225600}, "wrong_type"),
        ],
        ids=str,
    )
    def test_name_the_field(self, change: dict[str, Any], code: str) -> None:
        (field,) = change

        assert codes(**change) == [(code, field)]

    def test_say_where_what_and_how_to_mend_it(self) -> None:
        (error,) = check(age="30").errors

        assert (error.pointer, error.row, error.got, error.expected) == (
            "/inputs/2/age",
            2,
            '"30"',
            "integer",
        )
        assert error.hint == "send a JSON number, without quotes"

    def test_suggest_the_name_that_was_meant(self) -> None:
        row = {name: value for name, value in ROW.items() if name != "income"} | {"incmoe": 1}

        errors = RowChecker(CONTRACT).check(row, pointer=()).errors

        assert [(str(each.code), each.field) for each in errors] == [
            ("missing_field", "income"),
            ("unknown_field", "incmoe"),
        ]
        assert errors[1].hint == "did you mean `income`?"

    def test_escape_names_in_pointers(self) -> None:
        (error,) = check(**{"a/b~c": 1}).errors

        assert error.pointer == "/inputs/2/a~1b~0c"

    def test_cut_what_they_quote(self) -> None:
        (error,) = check(since="x" * 500).errors

        assert error.got is not None
        assert len(error.got) <= 64


class TestWarnings:
    def test_name_what_training_never_saw_and_keep_the_value(self) -> None:
        checked = check(age=120, city="lyn")

        assert checked.errors == []
        assert checked.values[:3] == [120.0, 2.5, "lyn"]
        found = [(str(each.code), each.field, each.expected, each.hint) for each in checked.warnings]
        assert found == [
            ("out_of_range", "age", "18 to 90", None),
            ("unknown_category", "city", "one of: lyon, paris", "did you mean `lyon`?"),
        ]


class TestPolicies:
    def test_decide_between_refusing_warning_and_filling_in(self) -> None:
        strict = FieldContract(
            name="age", type=ColumnType.INTEGER, nullable=False, minimum=18, on_out_of_range=Policy.REJECT
        )
        filling = strict.model_copy(update={"on_out_of_range": Policy.IMPUTE, "on_missing": Policy.IMPUTE})

        refused = RowChecker(InputContract(fields=[strict])).check({"age": 3}, pointer=())
        filled = RowChecker(InputContract(fields=[filling])).check({"age": 3}, pointer=())
        absent = RowChecker(InputContract(fields=[filling])).check({}, pointer=())

        assert [str(each.code) for each in refused.errors] == ["out_of_range"]
        assert (filled.values, [str(each.code) for each in filled.warnings]) == ([None], ["out_of_range"])
        assert (absent.values, absent.errors) == ([None], [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


class TestAnything:
    @settings(deadline=None)
    @given(st.dictionaries(st.sampled_from([*ROW, "other"]), JSON))
    def test_is_judged_and_never_crashes(self, row: dict[str, Any]) -> None:
        checked = RowChecker(CONTRACT).check(row, pointer=("input_data",))

        assert len(checked.values) == len(CONTRACT.fields)
        complete = set(row) == set(ROW)
        assert checked.errors or complete
        for value in checked.values:
            assert value is None or isinstance(value, str | bool | float)
