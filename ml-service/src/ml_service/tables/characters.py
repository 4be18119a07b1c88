"""Characters that neither a database nor a JSON answer can hold."""

import re
from collections.abc import Iterable

from ml_service.tables.problems import UnstorableText
from platform_kit.contract.problem import Issue, IssueCode, shown

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def check_characters(name: str, cells: Iterable[str | None]) -> None:
    """cells: a column of text. Raises UnstorableText for U+0000 and halves of surrogate pairs."""
    if _UNSTORABLE.search(name):
        raise UnstorableText(
            f"The column name {name!a} holds a character that is no text. Rename the column."
        )
    for row, text in enumerate(cells):
        if text is not None and _UNSTORABLE.search(text):
            raise _in_cell(name, row, text)


def _in_cell(name: str, row: int, text: str) -> UnstorableText:
    issue = Issue(
        pointer="",
        row=row,
        field=name,
        code=IssueCode.MALFORMED,
        got=shown(ascii(text)),
        expected="Unicode text",
    )
    return UnstorableText(
        f"Column {shown(name)} holds a character that is no text in row {row}: U+0000 or half a surrogate.",
        errors=[issue],
    )
