"""What can be wrong with a file. Each is a fact that a job reports to the person who sent the data."""

import re
from collections.abc import Sequence
from typing import ClassVar

from platform_kit.contract.problem import Issue, ProblemDetail

MAX_ISSUES = 20
"""Faults of one kind named one by one; more of the same are counted."""


class JobProblem(Exception):
    """Why a job cannot succeed on this input; trying again would not help.

    It is not an HTTP error of this process, so it carries no web framework into the child that raises it.
    """

    title: ClassVar[str]
    code: ClassVar[str] = ""

    def __init__(self, detail: str, *, errors: Sequence[Issue] | None = None) -> None:
        super().__init__(detail)
        self.problem = ProblemDetail(
            title=self.title,
            status=422,
            detail=detail,
            code=self.code,
            errors=list(errors) if errors else None,
        )

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in cls.__dict__:
            cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


class TableProblem(JobProblem):
    title = "File is not a usable table"


class NotCsv(TableProblem):
    title = "File is not CSV"


class NotJson(TableProblem):
    title = "File is not JSON"


class NotParquet(TableProblem):
    title = "File is not Parquet"


class EmptyFile(TableProblem):
    title = "File is empty"


class NoRows(TableProblem):
    title = "File has no rows"


class NoColumns(TableProblem):
    title = "File has no columns"


class RaggedRows(TableProblem):
    title = "Rows differ in length"


class DuplicateColumns(TableProblem):
    title = "Column names repeat"


class UnnamedColumns(TableProblem):
    title = "Columns without a name"


class NestedValues(TableProblem):
    title = "Values are nested"


class RowsAreNotObjects(TableProblem):
    title = "Rows are not objects"


class MixedTypes(TableProblem):
    title = "Types are mixed in a column"


class NonFiniteNumbers(TableProblem):
    title = "Numbers are not finite"


class UnsupportedColumnType(TableProblem):
    title = "Column type is not supported"


class UndecodableText(TableProblem):
    title = "Text cannot be decoded"


class UnstorableText(TableProblem):
    title = "Text holds characters that cannot be stored"


class CellTooLong(TableProblem):
    title = "Cell is too long"


class ColumnsChanged(TableProblem):
    title = "Columns are not those of the profile"
