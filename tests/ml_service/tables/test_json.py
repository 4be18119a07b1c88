from pathlib import Path

import pytest

from ml_service.tables.problems import (
    DuplicateColumns,
    EmptyFile,
    MixedTypes,
    NestedValues,
    NoColumns,
    NonFiniteNumbers,
    NoRows,
    NotJson,
    RowsAreNotObjects,
    TableProblem,
    UndecodableText,
    UnnamedColumns,
    UnstorableText,
)
from ml_service.tables.reading import read
from ml_service.tables.table import Table
from platform_kit.contract.schema import ColumnType, FileType


def json_table(tmp_path: Path, content: str | bytes) -> Table:
    path = tmp_path / "data.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path, FileType.JSON)


def refusal(tmp_path: Path, content: str | bytes) -> TableProblem:
    with pytest.raises(TableProblem) as caught:
        json_table(tmp_path, content)
    return caught.value


class TestForms:
    @pytest.mark.parametrize(
        "text",
        [
            '[{"a": 1, "b": "x"}, {"a": 2, "b": null}]',
            '{"a": 1, "b": "x"}\n{"a": 2, "b": null}\n',
            '{"a": 1, "b": "x"}\r\n{"a": 2}',
            '\ufeff[\n  {"a": 1, "b": "x"},\n  {"a": 2}\n]\n',
        ],
    )
    def test_an_array_or_an_object_a_line(self, tmp_path: Path, text: str) -> None:
        table = json_table(tmp_path, text)

        assert [table.json_row(row) for row in range(2)] == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
        assert table.column("b").nullable

    def test_types_are_those_that_the_file_writes(self, tmp_path: Path) -> None:
        table = json_table(
            tmp_path,
            '[{"i": 1, "f": 1.0, "m": 1, "b": true, "s": "7", "t": "2026-01-31", "n": null, "na": "NA"},'
            ' {"i": 2, "f": 2.0, "m": 0.5, "b": false, "s": "", "t": null, "n": null, "na": "x"}]',
        )

        assert {each.name: each.type for each in table.columns} == {
            "i": ColumnType.INTEGER,
            "f": ColumnType.DECIMAL,
            "m": ColumnType.DECIMAL,
            "b": ColumnType.BOOLEAN,
            "s": ColumnType.STRING,
            "t": ColumnType.DATETIME,
            "n": ColumnType.STRING,
            "na": ColumnType.STRING,
        }
        assert table.json_row(1)["s"] == ""
        assert table.json_row(0)["na"] == "NA"

    def test_integers_that_a_float_cannot_hold_are_identifiers(self, tmp_path: Path) -> None:
        table = json_table(tmp_path, '[{"id": 9007199254740993}, {"id": 5}, {"id": null}]')

        assert table.column("id").type is ColumnType.STRING
        assert [table.json_row(row)["id"] for row in range(3)] == ["9007199254740993", "5", None]


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", EmptyFile),
            ("  \n", EmptyFile),
            ("[]", NoRows),
            ("[{}]", NoColumns),
            ('[{"": 1}]', UnnamedColumns),
            ('[{"a": {"b": 1}}]', NestedValues),
            ('[{"a": [1]}]', NestedValues),
            ('[{"a": 1}, {"a": "x"}]', MixedTypes),
            ('[{"a": 1}, {"a": true}]', MixedTypes),
            ('[{"a": 1}, 7]', RowsAreNotObjects),
            ("[[1, 2], [3, 4]]", RowsAreNotObjects),
            ("123", RowsAreNotObjects),
            ('[{"a": 1, "a": 2}]', DuplicateColumns),
            ('[{"a": NaN}]', NonFiniteNumbers),
            ('[{"a": 1e999}]', NonFiniteNumbers),
            ('[{"a": 1}', NotJson),
            ('[{"a": 1}] extra', NotJson),
            ('[{"a": 1},]', NotJson),
            ("a,b\n1,2\n", NotJson),
            ("[" * 100_000, NotJson),
            ('[{"a": ' + "1" * 5000 + "}]", NotJson),
            ("\x89PNG\x00", NotJson),
            ('[{"a": "\\ud800"}]', UnstorableText),
            ('[{"a": "x\\u0000y"}]', UnstorableText),
            ('[{"\\u0000": 1}]', UnstorableText),
        ],
    )
    def test_each_fault_is_its_own_fact(
        self, tmp_path: Path, text: str, expected: type[TableProblem]
    ) -> None:
        problem = refusal(tmp_path, text)

        assert type(problem) is expected
        assert problem.problem.model_dump_json()

    def test_bytes_that_mean_nothing_are_no_text(self, tmp_path: Path) -> None:
        assert type(refusal(tmp_path, b'[{"a": "\x81\x8d"}]')) is UndecodableText

    def test_broken_json_names_line_and_column(self, tmp_path: Path) -> None:
        problem = refusal(tmp_path, '[\n {"a": 1},\n {"a": x}\n]').problem

        assert "line 3, column 8" in problem.detail
        assert [each.line for each in problem.errors or []] == [3]

    def test_a_broken_line_among_many_names_its_number(self, tmp_path: Path) -> None:
        problem = refusal(tmp_path, '{"a": 1}\n{"a": 2\n{"a": 3}\n').problem

        assert "line 3, column 1" in problem.detail

    def test_mixed_types_name_the_rows_that_differ_from_most(self, tmp_path: Path) -> None:
        problem = refusal(tmp_path, '{"a": 1}\n{"a": null}\n{"a": "two"}\n{"a": 3.5}\n{"a": true}\n').problem

        assert [(each.row, each.line, each.got, each.expected) for each in problem.errors or []] == [
            (2, 3, '"two"', "number"),
            (4, 5, "true", "number"),
        ]
        assert "2 numbers and 1 string and 1 boolean" in problem.detail

    def test_nested_values_name_row_line_and_column(self, tmp_path: Path) -> None:
        issue = (refusal(tmp_path, '[\n{"a": 1},\n\n{"a": {"b": 2}}]').problem.errors or [])[0]

        assert (issue.row, issue.line, issue.field, issue.got) == (1, 4, "a", "an object")
        assert issue.pointer == "/1/a"
