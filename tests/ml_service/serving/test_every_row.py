"""Every row of the training passes, and every cell of it that leaves the contract is named, once."""

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from ml_service.serving.errors import InvalidInput
from ml_service.serving.servable import Servable
from ml_service.serving.understanding import understood_batch, understood_single
from platform_kit.contract.inputs import FieldContract
from platform_kit.contract.problem import Issue
from platform_kit.contract.schema import ColumnType
from platform_kit.contract.serving_options import ServingOptions
from tests.ml_service.serving.crowd import Crowd


class Mutation(NamedTuple):
    """cell: what stands in the field, or `GONE`. is_error: else it is a warning."""

    cell: Any
    code: str
    is_error: bool = True


GONE: Any = object()
WRONG: dict[ColumnType, list[Any]] = {
    ColumnType.INTEGER: ["30", True, False, 30.5, [], {}, ""],
    ColumnType.DECIMAL: ["2.5", True, False, [], {}, "NaN"],
    ColumnType.BOOLEAN: [0, 1, 0.0, "true", "", [], {}],
    ColumnType.STRING: [5, 0.5, True, [], {}],
    ColumnType.DATETIME: [5, 0.5, True, "", "yesterday", "2016-13-01", [], {}],
}


def mutations(field: FieldContract) -> Iterator[Mutation]:
    yield Mutation(GONE, "missing_field")
    if not field.nullable:
        yield Mutation(None, "null_not_allowed")
    yield from (Mutation(each, "wrong_type") for each in WRONG[field.type])
    if field.type.is_numeric:
        yield from (Mutation(each, "not_finite") for each in (math.nan, math.inf, -math.inf, 10**400))
        assert field.minimum is not None
        assert field.maximum is not None
        yield from (
            Mutation(each, "out_of_range", is_error=False)
            for each in (math.floor(field.minimum) - 1, math.ceil(field.maximum) + 1, 2**70, -1e300)
        )
    if field.type is ColumnType.STRING:
        yield Mutation("\ud800", "malformed")
        yield from (
            Mutation(each, "unknown_category", is_error=False) for each in ("ATLANTIS", "", "bonn", "\0")
        )
    if field.type is ColumnType.DATETIME:
        yield from (Mutation(each, "out_of_range", is_error=False) for each in ("1970-01-01", "2100-01-01"))


def mutated(row: dict[str, Any], name: str, cell: Any) -> dict[str, Any]:
    return {
        key: cell if key == name else value for key, value in row.items() if key != name or cell is not GONE
    }


def issues_of(servable: Servable, rows: list[dict[str, Any]]) -> tuple[list[Issue], list[Issue]]:
    """errors, warnings; one row is sent alone."""
    try:
        if len(rows) == 1:
            understood = understood_single(servable, json.dumps({"input_data": rows[0]}).encode())
        else:
            understood = understood_batch(servable, json.dumps({"inputs": rows}).encode())
    except InvalidInput as refusal:
        return list(refusal.errors or []), []
    return [], list(understood.warnings)


class TestEveryRow:
    @pytest.fixture
    def servable(self, crowd: Crowd) -> Servable:
        return Servable(crowd.manifest, ServingOptions())

    def test_of_the_training_passes(self, crowd: Crowd, servable: Servable) -> None:
        assert len(crowd.learnt) == crowd.manifest.split.train_rows
        for row in crowd.learnt:
            assert issues_of(servable, [row]) == ([], [])
        assert issues_of(servable, crowd.learnt) == ([], [])

    def test_of_the_data_set_is_answered(self, crowd: Crowd, servable: Servable) -> None:
        """A row that was held out may hold what training never saw."""
        for row in crowd.rows:
            errors, warnings = issues_of(servable, [row])

            assert errors == []
            assert {str(each.code) for each in warnings} <= {"out_of_range", "unknown_category"}

    def test_with_one_cell_outside_the_contract_is_named_once(self, crowd: Crowd, servable: Servable) -> None:
        tried = 0
        for row in crowd.learnt[::3]:
            for field in crowd.manifest.contract.fields:
                for cell, code, is_error in mutations(field):
                    errors, warnings = issues_of(servable, [mutated(row, field.name, cell)])

                    assert len(warnings) == (0 if is_error else 1), (field.name, cell, errors)
                    (only,) = errors if is_error else warnings
                    where = (str(only.code), only.field, only.pointer)
                    assert where == (code, field.name, f"/input_data/{field.name}")
                    tried += 1
        assert tried > 4000

    def test_with_one_cell_outside_the_contract_is_named_once_among_others(
        self, crowd: Crowd, servable: Servable
    ) -> None:
        for place, field in enumerate(crowd.manifest.contract.fields):
            for cell, code, is_error in mutations(field):
                rows = crowd.learnt[:3]
                rows[place % 3] = mutated(rows[place % 3], field.name, cell)

                errors, warnings = issues_of(servable, rows)

                (only,) = errors if is_error else warnings
                assert (str(only.code), only.field, only.row) == (code, field.name, place % 3)

    def test_with_a_misspelt_name_is_told_both_names(self, crowd: Crowd, servable: Servable) -> None:
        for row in crowd.learnt[::10]:
            for name in row:
                misspelt = {key if key != name else f"{name}s": value for key, value in row.items()}

                errors, _ = issues_of(servable, [misspelt])

                assert [(str(each.code), each.field) for each in errors] == [
                    ("missing_field", name),
                    ("unknown_field", f"{name}s"),
                ]
                assert errors[1].hint == f"did you mean `{name}`?"
