"""Column names must be there and be different."""

from collections import Counter
from collections.abc import Sequence

from ml_service.tables.problems import MAX_ISSUES, DuplicateColumns, NoColumns, UnnamedColumns
from platform_kit.contract.problem import Issue, IssueCode, shown


def check_names(names: Sequence[str], *, line: int | None = None) -> None:
    """Raises NoColumns, UnnamedColumns, DuplicateColumns. line: of the header, in files that have one."""
    if not names:
        raise NoColumns("The file has no columns. Send one with at least one named column.")
    unnamed = [number for number, name in enumerate(names, start=1) if not name.strip()]
    if unnamed:
        raise _unnamed(unnamed, line)
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise _repeated(repeated, line)


def _unnamed(numbers: list[int], line: int | None) -> UnnamedColumns:
    issues = [
        Issue(
            pointer="",
            line=line,
            code=IssueCode.MALFORMED,
            expected=f"a name for column {number}",
            hint="a column of row numbers can be left out"
            if number == 1
            else "is there a delimiter too many?",
        )
        for number in numbers[:MAX_ISSUES]
    ]
    which = ", ".join(map(str, numbers[:MAX_ISSUES]))
    return UnnamedColumns(
        f"The header names no column at position {which}. Give every column a name.", errors=issues
    )


def _repeated(names: list[str], line: int | None) -> DuplicateColumns:
    issues = [
        Issue(pointer="", line=line, field=name, code=IssueCode.DUPLICATE_COLUMN, hint="rename one of them")
        for name in names[:MAX_ISSUES]
    ]
    listed = ", ".join(shown(name) for name in names[:MAX_ISSUES])
    return DuplicateColumns(
        f"More than one column is named {listed}. Give every column its own name.", errors=issues
    )
