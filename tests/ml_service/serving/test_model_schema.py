"""The schema of a row and the check of a row are written apart: over many contracts they say the same."""

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator

from ml_service.serving.model_schema import row_schema
from platform_kit.contract.inputs import FieldContract, InputContract, Policy, RowChecker
from platform_kit.contract.schema import ColumnType

Json: TypeAlias = dict[str, Any]

CITIES = ["Bonn", "Köln", "Ulm"]
MOMENTS = ["2020-01-01T00:00:00Z", "2031-12-31T23:59:59.5+02:00"]
NO_VALUES: list[Any] = [None, True, 3, 3.0, 30.7, -1e9, 1e300, "", "3", "Bonn", "Bon", [], {}]
"""Whatever somebody might send in a field. None of the texts is a moment."""

policies = st.sampled_from(Policy)


@st.composite
def contracts(draw: st.DrawFn) -> InputContract:
    fields = [
        _field(draw, f"field{number}", draw(st.sampled_from(ColumnType)))
        for number in range(draw(st.integers(1, 4)))
    ]
    unknown = draw(st.sampled_from([Policy.REJECT, Policy.WARN]))
    return InputContract(fields=fields, on_unknown_field=unknown)


def _field(draw: st.DrawFn, name: str, kind: ColumnType) -> FieldContract:
    low, high = sorted([draw(st.integers(-50, 50)), draw(st.integers(-50, 50))])
    facts: Json = {}
    if kind.is_numeric:
        facts = {
            "minimum": draw(st.sampled_from([low, None])),
            "maximum": draw(st.sampled_from([high, None])),
        }
        facts["typical"] = draw(st.sampled_from([high, None]))
    if kind is ColumnType.STRING:
        facts = {"categories": draw(st.sampled_from([CITIES, None])), "typical": "Bonn"}
    return FieldContract(
        name=name,
        type=kind,
        nullable=draw(st.booleans()),
        on_missing=draw(policies),
        on_out_of_range=draw(policies),
        on_unknown_category=draw(policies),
        **facts,
    )


def values_of(schema: Json) -> st.SearchStrategy[Any]:
    """What a field's schema allows."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return st.one_of([_values(schema, kind) for kind in kinds])


def _values(schema: Json, kind: str) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum"), schema.get("maximum")
    match kind:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(low, high)
        case "number":
            return st.floats(low, high, allow_nan=False, allow_infinity=False) | st.integers(low, high)
        case _:
            return st.sampled_from(MOMENTS) if "format" in schema else st.text(max_size=5)


@st.composite
def rows_of(draw: st.DrawFn, schema: Json) -> Json:
    """What the schema of a row allows."""
    row = {
        name: draw(values_of(field))
        for name, field in schema["properties"].items()
        if name in schema["required"] or draw(st.booleans())
    }
    if schema["additionalProperties"] and draw(st.booleans()):
        row["something else"] = 1
    return row


def changed(row: Json, contract: InputContract) -> Iterator[Json]:
    """The row with each thing, one at a time, that may break it."""
    for name in [*contract.names, "something else"]:
        yield {key: value for key, value in row.items() if key != name}
        yield from ({**row, name: value} for value in NO_VALUES)


class TestRowSchema:
    @given(data=st.data(), contract=contracts())
    def test_allows_nothing_that_is_refused(self, data: st.DataObject, contract: InputContract) -> None:
        row = data.draw(rows_of(row_schema(contract, [])))

        assert RowChecker(contract).check(row, pointer=()).errors == []

    @given(data=st.data(), contract=contracts())
    @settings(max_examples=50)
    def test_forbids_exactly_what_is_refused(self, data: st.DataObject, contract: InputContract) -> None:
        schema = row_schema(contract, [])
        validator, checker = OAS31Validator(schema), RowChecker(contract)

        for row in changed(data.draw(rows_of(schema)), contract):
            is_allowed = validator.is_valid(row) and not _has_no_moment(contract, row)
            assert is_allowed == (checker.check(row, pointer=()).errors == []), row

    @given(contract=contracts())
    def test_is_a_schema_in_plain_json(self, contract: InputContract) -> None:
        schema = row_schema(contract, [])

        OAS31Validator.check_schema(schema)
        assert json.loads(json.dumps(schema, allow_nan=False)) == schema


def _has_no_moment(contract: InputContract, row: Json) -> bool:
    """A text in a datetime's place that is none: what `format` says is for people."""
    times = [each.name for each in contract.fields if each.type is ColumnType.DATETIME]
    return any(isinstance(row.get(name), str) and row[name] not in MOMENTS for name in times)
