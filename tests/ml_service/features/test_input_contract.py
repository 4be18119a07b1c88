from typing import Any

import numpy as np
import pytest

from ml_service.features.encoder import Encoder, Needs
from ml_service.features.input_contract import contract_of
from ml_service.features.options import Options
from ml_service.tables.table import Table, table_of
from platform_kit.contract.inputs import InputContract, Policy
from platform_kit.contract.schema import MAX_CATEGORIES, ColumnType

TREES = Needs(knows_missing=True, wants_scaling=False)


def contract(whole: Table, train_rows: int) -> InputContract:
    train = whole.rows(np.arange(train_rows))
    return contract_of(train, whole=whole, encoder=Encoder.fit(train, needs=TREES, options=Options()))


class TestContractOf:
    def test_describes_what_the_training_rows_hold(self) -> None:
        whole = table_of(
            ["n", "c", "b", "t"],
            [ColumnType.INTEGER, ColumnType.STRING, ColumnType.BOOLEAN, ColumnType.DATETIME],
            [
                np.array([np.nan, 3.0, 8.0, 99.0]),
                np.array(["y", "x", "y", "held out"], dtype=object),
                np.array([1.0, 0.0, 1.0, np.nan]),
                np.array([0.0, 86_400.0, 3600.0, 7200.0]),
            ],
        )

        number, category, boolean, moment = contract(whole, 3).fields

        assert (number.minimum, number.maximum, number.nullable, number.example) == (3.0, 8.0, True, 3)
        assert isinstance(number.example, int)
        assert (category.categories, category.nullable, category.example) == (["x", "y"], False, "y")
        assert (boolean.minimum, boolean.categories, boolean.example) == (None, None, True)
        assert (moment.minimum, moment.maximum, moment.example) == (0.0, 86_400.0, "1970-01-01")

    def test_a_gap_in_a_held_out_row_makes_the_field_nullable(self) -> None:
        whole = table_of(["b"], [ColumnType.BOOLEAN], [np.array([1.0, 0.0, np.nan])])

        assert contract(whole, 2).fields[0].nullable

    def test_policies_are_the_contracts_defaults(self) -> None:
        field = contract(table_of(["n"], [ColumnType.DECIMAL], [np.array([1.0, 2.0])]), 2).fields[0]

        assert (field.on_missing, field.on_out_of_range, field.on_unknown_category) == (
            Policy.REJECT,
            Policy.WARN,
            Policy.WARN,
        )

    def test_a_column_of_too_many_or_too_long_texts_is_open(self) -> None:
        many = np.array([f"id{number}" for number in range(MAX_CATEGORIES + 1)], dtype=object)
        long = np.array(["x" * 300] * len(many), dtype=object)
        empty = np.array([None] * len(many), dtype=object)
        whole = table_of(["many", "long", "empty"], [ColumnType.STRING] * 3, [many, long, empty])

        assert [each.categories for each in contract(whole, len(many)).fields] == [None, None, None]

    @pytest.mark.parametrize(
        ("kind", "cells", "typical"),
        [
            (ColumnType.INTEGER, [9.0, 2.0, np.nan, 4.0, 3.0], 3),
            (ColumnType.INTEGER, [1.0, 2.0, 9.0], 2),
            (ColumnType.DECIMAL, [4.0, 1.0, np.nan, 2.0, 8.0], 3.0),
            (ColumnType.DECIMAL, [1.7e308, 1.5e308], 1.6e308),
            (ColumnType.DATETIME, [86_400.0, 0.0], 43_200.0),
            (ColumnType.BOOLEAN, [1.0, 0.0, 1.0, np.nan, np.nan, np.nan], True),
            (ColumnType.BOOLEAN, [1.0, 0.0], False),
            (ColumnType.STRING, ["b", "c", None, None, None, "c", "b", "a"], "b"),
            (ColumnType.STRING, [None, None], None),
            (ColumnType.DECIMAL, [np.nan, np.nan], None),
        ],
    )
    def test_typical_is_the_median_or_the_most_frequent_of_what_is_there(
        self, kind: ColumnType, cells: list[Any], typical: object
    ) -> None:
        array = np.array(cells, dtype=object if kind is ColumnType.STRING else np.float64)
        whole = table_of(["c"], [kind], [np.concatenate([array, array[:1], array[:1]])])

        found = contract(whole, len(cells)).fields[0].typical

        assert found == typical
        assert type(found) is type(typical)
