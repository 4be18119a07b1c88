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


TYPICAL: dict[ColumnType, Any] = {
    ColumnType.INTEGER: 40,
    ColumnType.DECIMAL: 2.5,
    ColumnType.BOOLEAN: True,
    ColumnType.STRING: "lyon",
    ColumnType.DATETIME: 1767225600.0,
}
FILLED = [
    (ColumnType.INTEGER, 40.0, "40"),
    (ColumnType.DECIMAL, 2.5, "2.5"),
    (ColumnType.BOOLEAN, True, "true"),
    (ColumnType.STRING, "lyon", '"lyon"'),
    (ColumnType.DATETIME, 1767225600.0, "2026-01-01T00:00:00+00:00"),
]


def one(kind: ColumnType, **facts: Any) -> RowChecker:
    """A contract of one field `x`."""
    known = {"name": "x", "type": kind, "nullable": False, "typical": TYPICAL[kind]}
    return RowChecker(InputContract(fields=[FieldContract.model_validate({**known, **facts})]))


def said(checker: RowChecker, row: dict[str, Any]) -> tuple[list[Any], list[str], list[str]]:
    """values, codes of errors, codes of warnings."""
    checked = checker.check(row, pointer=())
    return (
        checked.values,
        [str(each.code) for each in checked.errors],
        [str(each.code) for each in checked.warnings],
    )


class TestPolicyOfWhatIsMissing:
    @pytest.mark.parametrize(("row", "code"), [({}, "missing_field"), ({"x": None}, "null_not_allowed")])
    @pytest.mark.parametrize("kind", ColumnType)
    def test_refuses_warns_or_fills_in(self, kind: ColumnType, row: dict[str, Any], code: str) -> None:
        assert said(one(kind), row)[1:] == ([code], [])
        assert said(one(kind, on_missing="warn"), row) == ([None], [], [code])
        filled = said(one(kind, on_missing="impute"), row)

        assert filled == ([TYPICAL[kind]], [], [code])
        assert isinstance(filled[0][0], bool | str | float)

    @pytest.mark.parametrize(("kind", "value", "shown"), FILLED)
    def test_says_what_was_filled_in(self, kind: ColumnType, value: Any, shown: str) -> None:
        checked = one(kind, on_missing="impute").check({}, pointer=())

        assert checked.values == [value]
        assert checked.warnings[0].hint == f"it counts as {shown}, which is usual for `x`"

    @pytest.mark.parametrize("kind", ColumnType)
    def test_leaves_it_missing_where_nothing_is_usual(self, kind: ColumnType) -> None:
        checked = one(kind, on_missing="impute", typical=None).check({}, pointer=())

        assert (checked.values, checked.warnings[0].hint) == ([None], "it counts as missing")

    @pytest.mark.parametrize("policy", Policy)
    def test_is_not_about_a_null_that_training_had_too(self, policy: Policy) -> None:
        checker = one(ColumnType.INTEGER, nullable=True, on_missing=policy)

        assert said(checker, {"x": None}) == ([None], [], [])
        assert "missing_field" in str(said(checker, {}))


class TestPolicyOfWhatTrainingNeverSaw:
    @pytest.mark.parametrize(
        ("kind", "value", "kept", "code"),
        [
            (ColumnType.INTEGER, 3, 3.0, "out_of_range"),
            (ColumnType.DECIMAL, 3.5, 3.5, "out_of_range"),
            (ColumnType.DATETIME, "1970-01-01T00:00:01Z", 1.0, "out_of_range"),
            (ColumnType.STRING, "rome", "rome", "unknown_category"),
        ],
    )
    def test_refuses_warns_or_fills_in(self, kind: ColumnType, value: Any, kept: Any, code: str) -> None:
        seen: dict[str, Any] = (
            {"categories": ["lyon"]} if kind is ColumnType.STRING else {"minimum": 18, "maximum": 2e9}
        )
        if kind in (ColumnType.INTEGER, ColumnType.DECIMAL):
            seen["maximum"] = 90

        def under(policy: str) -> tuple[list[Any], list[str], list[str]]:
            return said(one(kind, **seen, on_out_of_range=policy, on_unknown_category=policy), {"x": value})

        assert under("reject")[1:] == ([code], [])
        assert under("warn") == ([kept], [], [code])
        assert under("impute") == ([TYPICAL[kind]], [], [code])

    @pytest.mark.parametrize(("value", "codes"), [(18, []), (90.0, []), (17, ["out_of_range"])])
    def test_begins_beyond_the_range(self, value: float, codes: list[str]) -> None:
        checker = one(ColumnType.INTEGER, minimum=18, maximum=90)

        assert said(checker, {"x": value}) == ([float(value)], [], codes)

    def test_does_not_make_a_wrong_type_right(self) -> None:
        everything = {"on_missing": "impute", "on_out_of_range": "impute", "on_unknown_category": "impute"}

        for kind, wrong in ((ColumnType.INTEGER, "3"), (ColumnType.STRING, 3), (ColumnType.BOOLEAN, 1)):
            assert said(one(kind, **everything), {"x": wrong})[1:] == (["wrong_type"], [])


class TestPolicyOfUnknownFields:
    def test_warns_and_leaves_them_out(self) -> None:
        checker = RowChecker(CONTRACT.model_copy(update={"on_unknown_field": Policy.WARN}))

        checked = checker.check({**ROW, "ctiy": "lyon", "b/c": 1}, pointer=("inputs", 0), index=0)

        assert (checked.errors, len(checked.values)) == ([], len(CONTRACT.fields))
        assert [(str(each.code), each.pointer, each.row) for each in checked.warnings] == [
            ("unknown_field", "/inputs/0/ctiy", 0),
            ("unknown_field", "/inputs/0/b~1c", 0),
        ]

    def test_still_names_what_is_missing_beside_them(self) -> None:
        checker = RowChecker(CONTRACT.model_copy(update={"on_unknown_field": Policy.WARN}))
        row = {name: value for name, value in ROW.items() if name != "city"} | {"ctiy": "lyon"}

        values, errors, warnings = said(checker, row)

        assert (errors, warnings, len(values)) == (["missing_field"], ["unknown_field"], len(CONTRACT.fields))

    def test_refuses_a_name_that_no_answer_could_hold(self) -> None:
        checker = RowChecker(CONTRACT.model_copy(update={"on_unknown_field": Policy.WARN}))

        assert said(checker, {**ROW, "\ud800": 1})[1:] == (["unknown_field"], [])


class TestTexts:
    @pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\udfff\ud800"])
    @pytest.mark.parametrize("categories", [None, ["lyon"]], ids=["open", "known"])
    def test_with_half_a_character_are_malformed(self, text: str, categories: list[str] | None) -> None:
        (error,) = one(ColumnType.STRING, categories=categories).check({"x": text}, pointer=()).errors

        assert (str(error.code), error.field) == ("malformed", "x")
        assert "half a surrogate pair" in (error.hint or "")

    @pytest.mark.parametrize("text", ["", "\x00", "😀", "\uffff", "e\u0301"])
    def test_are_taken_as_they_are(self, text: str) -> None:
        assert said(one(ColumnType.STRING), {"x": text}) == ([text], [], [])


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
