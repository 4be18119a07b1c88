import json
from pathlib import Path

import pytest

from ml_service.tables.problems import (
    CellTooLong,
    ColumnsChanged,
    DuplicateColumns,
    EmptyFile,
    NoRows,
    NotCsv,
    RaggedRows,
    TableProblem,
    UndecodableText,
    UnnamedColumns,
    UnstorableText,
)
from ml_service.tables.reading import read
from ml_service.tables.table import Table
from platform_kit.contract.problem import IssueCode
from platform_kit.contract.schema import Column, ColumnType, FileType


def csv_table(tmp_path: Path, content: str | bytes) -> Table:
    path = tmp_path / "data.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path, FileType.CSV)


def column_type(tmp_path: Path, *cells: str) -> ColumnType:
    table = csv_table(tmp_path, "x,row\n" + "".join(f"{cell},1\n" for cell in cells))
    return table.column("x").type


class TestTypes:
    @pytest.mark.parametrize(
        ("cells", "expected"),
        [
            (("1", "-20", "0"), ColumnType.INTEGER),
            (("1", "2.5"), ColumnType.DECIMAL),
            (("1.0", "2.0"), ColumnType.DECIMAL),
            (("1e5", ".5", "5."), ColumnType.DECIMAL),
            (("true", "FALSE", "True"), ColumnType.BOOLEAN),
            (("0", "1"), ColumnType.INTEGER),
            (("yes", "no"), ColumnType.STRING),
            (("true", "1"), ColumnType.STRING),
            (("00123", "00456"), ColumnType.STRING),
            (("12", "007"), ColumnType.STRING),
            (("0.5", "00.5"), ColumnType.STRING),
            (("+491234", "+495678"), ColumnType.STRING),
            (("1_000", "2_000"), ColumnType.STRING),
            (("inf", "1"), ColumnType.STRING),
            (("1e999", "1"), ColumnType.STRING),
            (("\uff19", "1"), ColumnType.STRING),
            (("2026-01-31", "2026-02-01"), ColumnType.DATETIME),
            (("2026-01-31T10:00:00Z", "2026-01-31 11:00"), ColumnType.DATETIME),
            (("2026-01-31", "2026-02-30"), ColumnType.STRING),
            (("20260131", "20260201"), ColumnType.INTEGER),
            (("9007199254740991", "1"), ColumnType.INTEGER),
            (("9007199254740993", "1"), ColumnType.STRING),
            (("9007199254740993", "0.5"), ColumnType.STRING),
            (("", "NA"), ColumnType.STRING),
        ],
    )
    def test_finds_the_narrowest_type_that_every_value_has(
        self, tmp_path: Path, cells: tuple[str, ...], expected: ColumnType
    ) -> None:
        assert column_type(tmp_path, *cells) is expected

    def test_gives_the_values_back_as_json_would_hold_them(self, tmp_path: Path) -> None:
        table = csv_table(
            tmp_path,
            "i,d,b,s,t\n3,0.1,TRUE,a b,2026-01-31T10:00:00+02:00\n,NA,null,,\n"
            "-4,2,false,00,2026-02-01T00:00:00Z\n",
        )

        assert [table.json_row(row) for row in range(3)] == [
            {"i": 3, "d": 0.1, "b": True, "s": "a b", "t": "2026-01-31T08:00:00Z"},
            {"i": None, "d": None, "b": None, "s": None, "t": None},
            {"i": -4, "d": 2.0, "b": False, "s": "00", "t": "2026-02-01"},
        ]
        assert isinstance(table.json_row(0)["i"], int)
        assert all(column.nullable for column in table.columns)

    def test_a_column_without_any_value_is_a_nullable_string_column(self, tmp_path: Path) -> None:
        table = csv_table(tmp_path, "a,b\n1,\n2,NaN\n")

        assert table.column("b") == Column(name="b", type=ColumnType.STRING, nullable=True)
        assert table.column("a") == Column(name="a", type=ColumnType.INTEGER, nullable=False)

    def test_known_columns_are_obeyed(self, tmp_path: Path) -> None:
        path = tmp_path / "data.csv"
        path.write_text("a,b\n1,2\n3,4\n")
        known = [
            Column(name="a", type=ColumnType.STRING, nullable=False),
            Column(name="b", type=ColumnType.DECIMAL, nullable=True),
        ]

        table = read(path, FileType.CSV, columns=known)

        assert [each.type for each in table.columns] == [ColumnType.STRING, ColumnType.DECIMAL]
        assert table.json_row(0) == {"a": "1", "b": 2.0}

    @pytest.mark.parametrize(
        "known",
        [
            [Column(name="a", type=ColumnType.INTEGER, nullable=False)],
            [Column(name="b", type=ColumnType.STRING, nullable=False)],
        ],
    )
    def test_a_file_that_is_not_the_profiled_one_is_refused(
        self, tmp_path: Path, known: list[Column]
    ) -> None:
        path = tmp_path / "data.csv"
        path.write_text("a\nx\n")

        with pytest.raises(ColumnsChanged):
            read(path, FileType.CSV, columns=known)


class TestForms:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_sniffs_the_delimiter(self, tmp_path: Path, delimiter: str) -> None:
        text = delimiter.join(["a", "b", "c"]) + "\n" + delimiter.join(["1", "x", "0.5"]) + "\n"

        assert csv_table(tmp_path, text).json_row(0) == {"a": 1, "b": "x", "c": 0.5}

    def test_a_comma_inside_cells_does_not_win_over_the_real_delimiter(self, tmp_path: Path) -> None:
        table = csv_table(tmp_path, "name;price, net;n\nA;1,5;1\nB;2;1\n")

        assert table.names == ["name", "price, net", "n"]

    def test_one_column_needs_no_delimiter(self, tmp_path: Path) -> None:
        assert csv_table(tmp_path, "a\n1\n\n2\n").row_count == 2

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    def test_reads_the_usual_encodings(self, tmp_path: Path, encoding: str) -> None:
        table = csv_table(tmp_path, "größe,ort\n1,Köln\n2,Zürich\n".encode(encoding))

        assert table.json_row(1) == {"größe": 2, "ort": "Zürich"}

    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
    def test_reads_the_line_ends_of_every_system(self, tmp_path: Path, newline: str) -> None:
        table = csv_table(tmp_path, newline.join(["a,b", "1,x", "2,y"]))

        assert table.json_row(1) == {"a": 2, "b": "y"}

    def test_quoted_cells_may_hold_delimiters_newlines_and_quotes(self, tmp_path: Path) -> None:
        table = csv_table(tmp_path, 'a,b\n1,"x, ""y""\nz"\n2,w\n')

        assert table.json_row(0) == {"a": 1, "b": 'x, "y"\nz'}

    def test_a_quoted_cell_may_follow_a_space(self, tmp_path: Path) -> None:
        assert csv_table(tmp_path, 'a, b\n1, "x, y"\n').json_row(0) == {"a": 1, "b": "x, y"}

    def test_white_space_around_names_and_cells_does_not_count(self, tmp_path: Path) -> None:
        assert csv_table(tmp_path, "a, b\n1, x \n").json_row(0) == {"a": 1, "b": "x"}

    def test_rows_beyond_one_chunk_are_kept_in_order(self, tmp_path: Path) -> None:
        table = csv_table(tmp_path, "a\n" + "\n".join(map(str, range(45_000))))

        assert table.values("a").tolist() == list(range(45_000))


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", NotCsv),
            (b"PK\x03\x04 a workbook", NotCsv),
            (b"PAR1", NotCsv),
            (bytes(range(256)) * 20, NotCsv),
            (b'[{"a": 1}]', NotCsv),
            (b'a,b\n1,"x"y\n', NotCsv),
            (b"", EmptyFile),
            (b" \n \n", EmptyFile),
            (b"a,b\n", NoRows),
            (b"a,b\n\n\n", NoRows),
            (b"a,b,a\n1,2,3\n", DuplicateColumns),
            (b"a,,b\n1,2,3\n", UnnamedColumns),
            (b"a,b,\n1,2,\n", UnnamedColumns),
            (b"a,b\n1\n", RaggedRows),
            (b"a,b\n1,\x81\x8d\n", UndecodableText),
            ("a,b\n1,x\0y\n".encode("utf-16"), UnstorableText),
            (b"a,b\n1," + b"x" * 200_000 + b"\n", CellTooLong),
        ],
    )
    def test_each_fault_is_its_own_fact(
        self, tmp_path: Path, content: bytes, expected: type[TableProblem]
    ) -> None:
        with pytest.raises(expected) as caught:
            csv_table(tmp_path, content)

        problem = caught.value.problem
        assert type(caught.value) is expected
        assert (problem.status, problem.code) == (422, expected.code)
        assert problem.detail.endswith((".", "?"))
        json.dumps(problem.model_dump(mode="json"))

    def test_codes_are_stable_names(self) -> None:
        assert RaggedRows.code == "ragged_rows"
        assert NotCsv.code == "not_csv"

    def test_every_ragged_row_is_named_with_line_and_counts(self, tmp_path: Path) -> None:
        with pytest.raises(RaggedRows) as caught:
            csv_table(tmp_path, 'a,b,c\n1,2,3\n"x\ny",2,3\n4,5\n6,7,8,9\n1,2,3\n')

        issues = caught.value.problem.errors or []
        assert [(each.line, each.row, each.got, each.expected) for each in issues] == [
            (5, 2, "2 fields", "3 fields"),
            (6, 3, "4 fields", "3 fields"),
        ]
        assert {each.code for each in issues} == {IssueCode.RAGGED_ROW}
        assert "line 5 has 2" in caught.value.problem.detail

    def test_many_ragged_rows_are_counted_but_not_all_listed(self, tmp_path: Path) -> None:
        with pytest.raises(RaggedRows) as caught:
            csv_table(tmp_path, "a,b\n" + "1\n" * 500)

        assert len(caught.value.problem.errors or []) == 20
        assert "499 more" in caught.value.problem.detail

    def test_an_unclosed_quote_names_the_line_where_its_row_starts(self, tmp_path: Path) -> None:
        with pytest.raises(NotCsv) as caught:
            csv_table(tmp_path, 'a,b\n1,2\n3,"x\n4,5\n')

        assert [each.line for each in caught.value.problem.errors or []] == [3]

    def test_a_workbook_is_called_by_its_name(self, tmp_path: Path) -> None:
        with pytest.raises(NotCsv, match="Excel"):
            csv_table(tmp_path, b"PK\x03\x04\x14\x00")
