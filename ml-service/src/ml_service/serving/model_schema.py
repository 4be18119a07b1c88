"""What one row of a model may hold, as a JSON Schema: a row is accepted if it keeps to it, and only then.

What it cannot say, and what training saw and serving takes with a warning, is in `x-` keywords and in words.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from platform_kit.contract.inputs import FieldContract, InputContract, Policy
from platform_kit.contract.schema import ColumnType

Json = dict[str, Any]

_TYPES: dict[ColumnType, Json] = {
    ColumnType.INTEGER: {"type": "integer"},
    ColumnType.DECIMAL: {"type": "number"},
    ColumnType.BOOLEAN: {"type": "boolean"},
    ColumnType.STRING: {"type": "string"},
    ColumnType.DATETIME: {"type": "string", "format": "date-time"},
}
_MOST_EXAMPLES = 3


def row_schema(contract: InputContract, examples: Sequence[Json]) -> Json:
    """examples: whole rows that the contract accepts."""
    return {
        "type": "object",
        "properties": {
            each.name: _field(each, [row[each.name] for row in examples if each.name in row])
            for each in contract.fields
        },
        "required": [each.name for each in contract.fields if each.on_missing is Policy.REJECT],
        "additionalProperties": contract.on_unknown_field is not Policy.REJECT,
        "examples": list(examples),
    }


def _field(field: FieldContract, values: Sequence[Any]) -> Json:
    schema = {**_TYPES[field.type], "description": " ".join(_sentences(field))}
    schema.update(_bounds(field))
    takes_null = field.nullable or field.on_missing is not Policy.REJECT
    if field.categories is not None:
        schema["x-known-values"] = field.categories
        if field.on_unknown_category is Policy.REJECT:
            schema["enum"] = [*field.categories, *([None] if takes_null else [])]
    if takes_null:
        schema["type"] = [schema["type"], "null"]
    examples = [each for each in (field.example, *values) if each is not None]
    if examples:
        schema["examples"] = list(dict.fromkeys(examples))[:_MOST_EXAMPLES]
    return schema


def _bounds(field: FieldContract) -> Iterator[tuple[str, Any]]:
    """JSON Schema bounds numbers only: those of a datetime are in keywords of our own."""
    for name, bound in (("minimum", field.minimum), ("maximum", field.maximum)):
        if bound is None:
            continue
        if field.type is ColumnType.DATETIME:
            yield f"x-training-{name}", _spelt(field, bound)
        elif field.type.is_numeric:
            is_kept_to = field.on_out_of_range is Policy.REJECT
            yield (
                name if is_kept_to else f"x-training-{name}",
                int(bound) if float(bound).is_integer() else bound,
            )


def _sentences(field: FieldContract) -> Iterator[str]:
    if field.type is ColumnType.DATETIME:
        yield "ISO 8601, in UTC unless it says otherwise."
    yield from _of_values(field)
    yield _of_absence(field)


def _of_values(field: FieldContract) -> Iterator[str]:
    if field.categories is not None:
        count = f"{len(field.categories)} value{'' if len(field.categories) == 1 else 's'}"
        yield f"Training saw {count}; another one {_done(field, field.on_unknown_category)}."
    elif field.minimum is not None or field.maximum is not None:
        yield f"Training saw {_range(field)}; what is outside {_done(field, field.on_out_of_range)}."


def _of_absence(field: FieldContract) -> str:
    if field.on_missing is Policy.REJECT:
        return "It has to be there" + ("; null says that there is no value." if field.nullable else ".")
    what = _done(field, field.on_missing)
    if field.nullable:
        return f"Null says that there is no value; a row without the field {what}."
    return f"A row without it, or with null, {what}."


def _done(field: FieldContract, policy: Policy) -> str:
    """What becomes of a value that training never saw."""
    match policy:
        case Policy.REJECT:
            return "is refused"
        case Policy.WARN:
            return "is answered with a warning"
        case Policy.IMPUTE if field.typical is None:
            return "counts as missing, with a warning"
        case Policy.IMPUTE:
            return f"counts as {_spelt(field, field.typical)}, with a warning"


def _range(field: FieldContract) -> str:
    if field.maximum is None:
        return f"{_spelt(field, field.minimum)} or more"
    if field.minimum is None:
        return f"{_spelt(field, field.maximum)} or less"
    return f"{_spelt(field, field.minimum)} to {_spelt(field, field.maximum)}"


def _spelt(field: FieldContract, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"`{value}`"
    if field.type is ColumnType.DATETIME:
        return datetime.fromtimestamp(value, tz=UTC).isoformat()
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)
