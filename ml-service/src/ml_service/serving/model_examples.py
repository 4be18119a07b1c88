"""What a model's document shows: rows from its data, and what it says of one that does not fit."""

from collections.abc import Sequence
from typing import Any

from ml_service.serving.errors import InvalidInput
from ml_service.serving.findings import require_in_order
from ml_service.serving.servable import Servable
from platform_kit.contract.artifact import GoldenRow
from platform_kit.contract.inputs import FieldContract
from platform_kit.contract.schema import ColumnType

Json = dict[str, Any]

_MOST_ROWS = 3


def rows_that_fit(servable: Servable, golden: Sequence[GoldenRow]) -> list[Json]:
    """Rows of the dataset that are answered: those without a warning first."""
    checked = [(servable.check(each.input, pointer=()), each.input) for each in golden]
    fitting = [(len(found.warnings), row) for found, row in checked if not found.errors]
    rows = [row for _, row in sorted(fitting, key=lambda each: each[0])][:_MOST_ROWS]
    return rows or [{each.name: each.example for each in servable.contract.fields}]


def problem_with(servable: Servable, row: Json) -> Json:
    """What is answered to a row in which one value is no value of its field, and another stands under a wrong name."""
    fields = servable.contract.fields
    broken = {**row, fields[0].name: _no_value_of(fields[0], row.get(fields[0].name))}
    if len(fields) > 1 and fields[-1].name in broken:
        broken[f"{fields[-1].name}_"] = broken.pop(fields[-1].name)
    try:
        require_in_order(servable.check(broken, pointer=("input_data",)))
    except InvalidInput as refusal:
        return refusal.as_detail().model_dump(mode="json", exclude_none=True)
    raise AssertionError("every type refuses something")


def _no_value_of(field: FieldContract, value: Any) -> Any:
    match field.type:
        case ColumnType.STRING:
            return 42
        case ColumnType.BOOLEAN:
            return "yes"
        case ColumnType.DATETIME:
            return "yesterday"
        case _:
            return str(7 if value is None else value)
