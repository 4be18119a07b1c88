"""The fast half of a contract says nothing that the whole one would not say."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_kit.contract.inputs import FieldContract, InputContract, Policy, RowChecker, Value
from platform_kit.contract.quick_check import QuickChecker
from platform_kit.contract.schema import ColumnType

NAMES = ("a", "b", "c", "d")
TEXTS = st.sampled_from(["", "x", "y", "true", "1", "é", "\x00", "\ud800", "a\udfff"]) | st.text(max_size=4)
NUMBERS = (
    st.sampled_from([0, -0.0, 1, 1.0, 30.7, -1, 2**53 + 1, 2**70, -(2**70), 10**400, math.nan, math.inf])
    | st.sampled_from([-math.inf, 5e-324, 1.7976931348623157e308])
    | st.integers(-20, 20)
    | st.floats(-20, 20)
)
MOMENTS = st.sampled_from(
    [
        "2026-01-31",
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00+14:00",
        "0001-01-01",
        "9999-12-31",
        "2026-13-01",
    ]
)
CELLS = st.none() | st.booleans() | NUMBERS | TEXTS | MOMENTS
ANYTHING = CELLS | st.lists(CELLS, max_size=1) | st.dictionaries(TEXTS, CELLS, max_size=1)

TRAPS: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -0.0,
        0.0,
        1,
        1.0,
        5,
        5.0,
        5.5,
        -10,
        -10.5,
        30.7,
        2**53 + 1,
        2**63,
        2**70,
        -(2**70),
    ),
    *(10**400, -(10**400), math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308),
    *("", "x", "y", "1", "1.0", "true", "NaN", "\x00", "\ud800", "é", "1970-01-01", "1970-01-01T00:00:03Z"),
    *("2026-01-31T12:00:00+14:00", "0001-01-01", "9999-12-31", "2026-13-01", [], [1], {}, {"a": 1}),
]

BOUNDS = st.none() | st.sampled_from([-10.0, 0.0, -0.0, 5.0, 1_769_000_000.0])
FIELDS = st.builds(
    FieldContract,
    name=st.just(""),
    type=st.sampled_from(ColumnType),
    nullable=st.booleans(),
    minimum=BOUNDS,
    maximum=BOUNDS,
    categories=st.none() | st.lists(st.sampled_from(["", "x", "true", "\x00"]), unique=True),
    on_missing=st.sampled_from(Policy),
    on_out_of_range=st.sampled_from(Policy),
    on_unknown_category=st.sampled_from(Policy),
    typical=st.none(),
)


@st.composite
def contracts(draw: st.DrawFn) -> InputContract:
    fields = draw(st.lists(FIELDS, min_size=1, max_size=len(NAMES)))
    named = [each.model_copy(update={"name": name}) for name, each in zip(NAMES, fields, strict=False)]
    policy = draw(st.sampled_from([Policy.REJECT, Policy.WARN]))
    return InputContract(fields=named, on_unknown_field=policy)


def fitting(field: FieldContract) -> st.SearchStrategy[Any]:
    """Mostly what the field takes, so that whole rows are in order now and then."""
    own: dict[ColumnType, st.SearchStrategy[Any]] = {
        ColumnType.INTEGER: st.integers(-3, 3) | st.sampled_from([2.0, -0.0]),
        ColumnType.DECIMAL: st.floats(-3, 3) | st.integers(-3, 3),
        ColumnType.BOOLEAN: st.booleans(),
        ColumnType.STRING: st.sampled_from(["", "x", "true"]),
        ColumnType.DATETIME: st.sampled_from(["2026-01-31", "2026-01-31T12:00:00Z"]),
    }
    return own[field.type]


@st.composite
def rows(draw: st.DrawFn, contract: InputContract) -> dict[str, Any]:
    row: dict[str, Any] = {each.name: draw(fitting(each)) for each in contract.fields}
    for name in draw(st.lists(st.sampled_from([*contract.names, "e"]), max_size=2)):
        if draw(st.booleans()):
            row[name] = draw(ANYTHING)
        else:
            row.pop(name, None)
    return row


@st.composite
def asked(draw: st.DrawFn) -> tuple[InputContract, dict[str, Any]]:
    contract = draw(contracts())
    return contract, draw(rows(contract))


def spelt(values: list[Value]) -> list[str]:
    """Told apart as a cache tells them apart: 1.0 from true, and -0.0 from 0.0."""
    return [repr(each) for each in values]


class TestValues:
    @settings(max_examples=600, deadline=None)
    @given(asked())
    def test_are_those_of_the_whole_check_where_it_has_nothing_to_say(
        self, case: tuple[InputContract, dict[str, Any]]
    ) -> None:
        contract, row = case

        quick = QuickChecker(contract).values(row)

        checked = RowChecker(contract).check(row, pointer=("input_data",))
        if quick is not None:
            assert (checked.errors, checked.warnings) == ([], [])
            assert spelt(quick) == spelt(checked.values)

    @settings(max_examples=250, deadline=None)
    @given(contracts().flatmap(lambda each: st.tuples(st.just(each), rows(each))))
    def test_are_found_wherever_the_whole_check_has_nothing_to_say(
        self, case: tuple[InputContract, dict[str, Any]]
    ) -> None:
        """Otherwise it would be true and of no use. An absent cell may be imputed, so the row has to be whole."""
        contract, row = case
        checked = RowChecker(contract).check(row, pointer=())

        if not checked.errors and not checked.warnings:
            assert QuickChecker(contract).values(row) is not None

    @pytest.mark.parametrize("kind", ColumnType)
    @pytest.mark.parametrize("nullable", [False, True])
    @pytest.mark.parametrize(("minimum", "maximum"), [(None, None), (-10.0, 5.0)], ids=["open", "bounded"])
    def test_of_any_cell_are_those_of_the_whole_check(
        self, kind: ColumnType, nullable: bool, minimum: float | None, maximum: float | None
    ) -> None:
        for categories in (None, ["", "x", "\x00"]):
            one = FieldContract(
                name="a",
                type=kind,
                nullable=nullable,
                minimum=minimum,
                maximum=maximum,
                categories=categories,
            )
            beside = FieldContract(name="b", type=ColumnType.BOOLEAN, nullable=False)
            for contract in (InputContract(fields=[one]), InputContract(fields=[one, beside])):
                quick, whole = QuickChecker(contract), RowChecker(contract)
                for cell in TRAPS:
                    row = {"a": cell, "b": True} if len(contract.fields) == 2 else {"a": cell}
                    checked, values = whole.check(row, pointer=()), quick.values(row)
                    is_in_order = not checked.errors and not checked.warnings
                    assert (values is not None) == is_in_order, (contract, cell)
                    assert values is None or spelt(values) == spelt(checked.values)

    @pytest.mark.parametrize("kind", ColumnType)
    def test_of_each_type_are_quick(self, kind: ColumnType) -> None:
        contract = InputContract(fields=[FieldContract(name="a", type=kind, nullable=False)])
        cell = {ColumnType.BOOLEAN: True, ColumnType.STRING: "x", ColumnType.DATETIME: "2026-01-31"}.get(
            kind, 2
        )

        assert QuickChecker(contract).values({"a": cell}) is not None
        assert QuickChecker(contract).values({"a": None}) is None
        assert QuickChecker(contract).values({}) is None

    def test_of_two_decimals_take_the_same_way_as_one_of_each(self) -> None:
        decimals = [FieldContract(name=name, type=ColumnType.DECIMAL, nullable=False) for name in "ab"]
        quick = QuickChecker(InputContract(fields=decimals))

        assert quick.values({"b": 2**70, "a": 1}) == [1.0, float(2**70)]
        for wrong in (True, math.nan, math.inf, -math.inf, 10**400, "1", None, [1]):
            assert quick.values({"a": 1.0, "b": wrong}) is None
        assert quick.values({"a": 1.0, "c": 1.0}) is None
        assert quick.values({"a": 1.0, "b": 1.0, "c": 1.0}) is None
