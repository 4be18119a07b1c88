"""A version as one deployment answers with it: which rows it takes, and what it makes of the model's numbers."""

from collections.abc import Mapping
from typing import Any

from ml_service.serving.finishing import Finishing
from ml_service.serving.request_body import repeated_keys
from platform_kit.contract.artifact import Manifest
from platform_kit.contract.inputs import CheckedRow, RowChecker
from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shown
from platform_kit.contract.quick_check import QuickChecker
from platform_kit.contract.serving_options import ServingOptions


class Servable:
    def __init__(self, manifest: Manifest, options: ServingOptions) -> None:
        self.options = options
        self.contract = options.applied_to(manifest.contract)
        self.output_name = options.output_name
        self.quick_values = QuickChecker(self.contract).values
        finishing = Finishing(options, manifest.classes)
        self.finished, self.winner, self.labels = finishing.finished, finishing.winner, finishing.labels
        self._checker = RowChecker(self.contract)

    def check(
        self, row: Any, *, pointer: tuple[str | int, ...], index: int | None = None, quiet: bool = False
    ) -> CheckedRow:
        """Compare one row with the contract: all errors and warnings at once. quiet: without warnings."""
        if not isinstance(row, Mapping):
            issue = Issue(
                pointer=pointer_to(*pointer),
                row=index,
                code=IssueCode.WRONG_TYPE,
                got=shown(row),
                expected="an object: feature name to value",
            )
            return CheckedRow(values=[], errors=[issue])
        checked = self._checker.check(row, pointer=pointer, index=index, quiet=quiet)
        checked.errors.extend(repeated_keys(row, pointer=pointer, index=index))
        return checked
