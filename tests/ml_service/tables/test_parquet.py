import datetime as dt
import decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml_service.tables.problems import (
    DuplicateColumns,
    EmptyFile,
    NonFiniteNumbers,
    NoRows,
    NotParquet,
    TableProblem,
    UndecodableText,
    UnnamedColumns,
    UnstorableText,
    UnsupportedColumnType,
)
from ml_service.tables.reading import read
from ml_service.tables.table import Table
from platform_kit.contract.schema import ColumnType, FileType


def parquet_table(tmp_path: Path, table: pa.Table) -> Table:
    path = tmp_path / "data.parquet"
    pq.write_table(table, path)
    return read(path, FileType.PARQUET)


class TestTypes:
    def test_takes_the_types_of_the_file(self, tmp_path: Path) -> None:
        moment = dt.datetime(2026, 1, 31, 10, 0, 0, 500_000, tzinfo=dt.UTC)
        table = parquet_table(
            tmp_path,
            pa.table(
                {
                    "i": pa.array([1, None], pa.int16()),
                    "f": pa.array([0.5, None], pa.float32()),
                    "d": pa.array([decimal.Decimal("1.25"), None]),
                    "b": pa.array([True, None]),
                    "s": pa.array(["00", None], pa.large_string()),
                    "c": pa.array(["x", None]).dictionary_encode(),
                    "t": pa.array([moment, None], pa.timestamp("ns", tz="Europe/Berlin")),
                    "day": pa.array([dt.date(2026, 1, 31), None]),
                    "n": pa.nulls(2),
                    "id": pa.array([2**60, None], pa.int64()),
                }
            ),
        )

        assert table.json_row(0) == {
            "i": 1, "f": 0.5, "d": 1.25, "b": True, "s": "00", "c": "x", "t": "2026-01-31T10:00:00.500000Z",
            "day": "2026-01-31", "n": None, "id": str(2**60),
        }  # fmt: skip
        assert set(table.json_row(1).values()) == {None}
        assert all(each.nullable for each in table.columns)
        assert table.column("t").type is ColumnType.DATETIME

    def test_an_index_that_pandas_added_is_no_column(self, tmp_path: Path) -> None:
        path = tmp_path / "data.parquet"
        pd.DataFrame({"a": [1, 2]}, index=["x", "y"]).to_parquet(path)

        assert read(path, FileType.PARQUET).names == ["a"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("table", "expected"),
        [
            (pa.table({"a": pa.array([], pa.int64())}), NoRows),
            (pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), DuplicateColumns),
            (pa.table({"": [1]}), UnnamedColumns),
            (pa.table({"a": [[1, 2]]}), UnsupportedColumnType),
            (pa.table({"a": [{"b": 1}]}), UnsupportedColumnType),
            (pa.table({"a": [b"x"]}), UnsupportedColumnType),
            (pa.table({"a": [dt.time(1)]}), UnsupportedColumnType),
            (pa.table({"a": [1.0, float("inf")]}), NonFiniteNumbers),
            (pa.table({"a": ["x\0"]}), UnstorableText),
        ],
    )
    def test_each_fault_is_its_own_fact(
        self, tmp_path: Path, table: pa.Table, expected: type[TableProblem]
    ) -> None:
        with pytest.raises(expected):
            parquet_table(tmp_path, table)

    @pytest.mark.parametrize(
        "content", [b"PAR1 not really", b"a,b\n1,2\n", b"PAR1" + b"\xff" * 200 + b"PAR1"]
    )
    def test_other_bytes_are_no_parquet(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "data.parquet"
        path.write_bytes(content)

        with pytest.raises(NotParquet):
            read(path, FileType.PARQUET)

    def test_an_empty_file_is_empty(self, tmp_path: Path) -> None:
        path = tmp_path / "data.parquet"
        path.touch()

        with pytest.raises(EmptyFile):
            read(path, FileType.PARQUET)

    @pytest.mark.parametrize("part", [b"some text", b"a_name"])
    def test_text_that_is_not_utf8(self, tmp_path: Path, part: bytes) -> None:
        path = tmp_path / "data.parquet"
        pq.write_table(
            pa.table({"a_name": ["some text"]}),
            path,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
        )
        path.write_bytes(path.read_bytes().replace(part, part[:-1] + b"\xff"))

        with pytest.raises((NotParquet, UndecodableText), match=r"UTF-?8"):
            read(path, FileType.PARQUET)

    def test_a_truncated_file_is_no_parquet(self, tmp_path: Path) -> None:
        path = tmp_path / "data.parquet"
        pq.write_table(pa.table({"a": list(range(1000))}), path)
        path.write_bytes(path.read_bytes()[:-100])

        with pytest.raises(NotParquet):
            read(path, FileType.PARQUET)
