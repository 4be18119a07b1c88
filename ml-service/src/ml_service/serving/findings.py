"""What is wrong with the rows of a request, and what is to be noticed about them."""

from ml_service.serving.errors import InvalidInput
from platform_kit.contract.inputs import CheckedRow, Value
from platform_kit.contract.problem import Issue

MOST_ISSUES = 1000
"""A batch may be wrong in more places than anybody reads, and to name them all would take longer than to answer it."""
NAMED_FIELDS = 10


class Findings:
    def __init__(self) -> None:
        self.warnings: list[Issue] = []
        self._errors: list[Issue] = []
        self._unlisted = self._bad_rows = 0

    def hear(self, checked: CheckedRow) -> list[Value]:
        """Note what was found in one row; returns its values."""
        self.warnings += checked.warnings[: MOST_ISSUES - len(self.warnings)]
        if checked.errors:
            self._bad_rows += 1
            self._errors += checked.errors
            self._unlisted += checked.unlisted
        return checked.values

    @property
    def enough_warnings(self) -> bool:
        return len(self.warnings) >= MOST_ISSUES

    @property
    def enough_errors(self) -> bool:
        return len(self._errors) >= MOST_ISSUES

    def require_in_order(self, *, rows: int = 1, seen: int = 1) -> None:
        """One row that is wrong refuses all. seen: so many of the rows were looked at. Raises InvalidInput."""
        count = len(self._errors) + self._unlisted
        if not count:
            return
        where = f" in {self._bad_rows} of {rows} rows" if rows > 1 else ""
        more = f" The first {MOST_ISSUES} are listed." if count > MOST_ISSUES else ""
        if seen < rows:
            where = f" in {self._bad_rows} of the first {seen} of {rows} rows"
            more += " The other rows were not looked at."
        raise InvalidInput(
            f"{count} {'error' if count == 1 else 'errors'}{where}; please mend {self._fields()}.{more}",
            errors=self._errors[:MOST_ISSUES],
        )

    def _fields(self) -> str:
        fields = list(dict.fromkeys(each.field or each.pointer for each in self._errors))
        return ", ".join(fields[:NAMED_FIELDS])


def require_in_order(checked: CheckedRow) -> None:
    """Raises InvalidInput."""
    findings = Findings()
    findings.hear(checked)
    findings.require_in_order()
