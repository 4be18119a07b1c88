import pytest

from api_server.datasets.errors import FormatNotAccepted
from api_server.datasets.file_types import judge
from platform_kit.contract.schema import FileType


class TestJudge:
    @pytest.mark.parametrize(
        ("name", "head", "expected"),
        [
            ("a.csv", b"a,b\n1,2\n", FileType.CSV),
            ("A.CSV", b"\xef\xbb\xbfa,b\n", FileType.CSV),
            ("a.tsv", b"a\tb\n", FileType.CSV),
            ("a.json", b'[{"a": 1}]', FileType.JSON),
            ("a.jsonl", b'{"a": 1}\n', FileType.JSON),
            ("a.parquet", b"PAR1\x15\x04", FileType.PARQUET),
            ("folder\\a.csv", b"a\n1\n", FileType.CSV),
        ],
    )
    def test_knows_what_we_read(self, name: str, head: bytes, expected: FileType) -> None:
        assert judge(name, head) is expected

    @pytest.mark.parametrize(
        ("name", "head", "said"),
        [
            ("a.png", b"\x89PNG\r\n\x1a\n", "`.png` is not accepted"),
            ("a", b"a,b\n", "without an extension"),
            ("a.csv.exe", b"MZ", "`.exe` is not accepted"),
            ("a.pkl", b"\x80\x04\x95", "`.pkl` is not accepted"),
            ("a.csv", b"\x89PNG\r\n\x1a\n", "is a PNG image"),
            ("a.csv", b"PK\x03\x04", "ZIP archive (or an Excel workbook)"),
            ("a.json", b"%PDF-1.7", "is a PDF document"),
            ("a.csv", b"\x80\x04\x95\x00", "is a pickle"),
            ("a.parquet", b"a,b\n1,2\n", "is not Parquet"),
            ("a.csv", b"PAR1\x15\x04", "name it .parquet"),
        ],
    )
    def test_says_what_a_foreign_file_is(self, name: str, head: bytes, said: str) -> None:
        with pytest.raises(FormatNotAccepted) as refused:
            judge(name, head)

        assert said in refused.value.detail
