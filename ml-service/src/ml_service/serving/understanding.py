"""From a request's bytes to rows that the model can be asked about. Synchronous and free of I/O."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ml_service.serving.findings import Findings, require_in_order
from ml_service.serving.request_body import Options, many_rows, parse, quick_single, single_row
from ml_service.serving.servable import Servable
from platform_kit.contract.inputs import Value
from platform_kit.contract.problem import Issue


class Understood(NamedTuple):
    """rows: checked values, in the contract's order."""

    rows: list[list[Value]]
    options: Options
    warnings: Sequence[Issue] = ()


def understood_quickly(servable: Servable, raw: bytes) -> Understood | None:
    """A request for one row about which nothing is to be said; None: `understood_single` has to look at it."""
    quick = quick_single(raw)
    values = quick and servable.quick_values(quick[0])
    return Understood([values], quick[1]) if quick and values is not None else None


def understood_single(servable: Servable, raw: bytes) -> Understood:
    """Raises Malformed, InvalidInput."""
    quick = understood_quickly(servable, raw)
    if quick is not None:
        return quick
    row, options = single_row(parse(raw))
    checked = servable.check(row, pointer=("input_data",))
    require_in_order(checked)
    return Understood([checked.values], options, checked.warnings)


def understood_batch(servable: Servable, raw: bytes) -> Understood:
    """Raises Malformed, InvalidInput."""
    rows, options = many_rows(parse(raw))
    findings = Findings()
    values = []
    for index, row in enumerate(rows):
        quick = servable.quick_values(row) if type(row) is dict else None
        values.append(quick if quick is not None else _heard(servable, row, index, findings))
        if findings.enough_errors:
            break
    findings.require_in_order(rows=len(rows), seen=len(values))
    return Understood(values, options, findings.warnings)


def _heard(servable: Servable, row: Any, index: int, findings: Findings) -> list[Value]:
    quiet = findings.enough_warnings
    return findings.hear(servable.check(row, pointer=("inputs", index), index=index, quiet=quiet))
