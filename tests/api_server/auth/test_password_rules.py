import unicodedata
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from api_server.auth.password_rules import is_common, normalised, weakness_of

REPOSITORY = Path(__file__).parents[3]


def weakness(password: str) -> str | None:
    return weakness_of(password, username="ada.lovelace", email="ada@example.com")


class TestIsCommon:
    @pytest.mark.parametrize("password", ["password", "PassWord", "12345678", "qwertyuiop", "IloveYou"])
    def test_knows_what_many_use_in_any_case(self, password: str) -> None:
        assert is_common(password)

    @pytest.mark.parametrize("password", ["", "correct horse battery", "password password", "pässword"])
    def test_lets_others_be(self, password: str) -> None:
        assert not is_common(password)

    def test_knows_3000_that_could_be_chosen(self) -> None:
        lines = files("api_server.auth").joinpath("common_passwords.txt").read_text().splitlines()

        assert len(set(lines)) == len(lines) == 3000
        assert all(len(line) >= 8 and is_common(line) for line in lines)

    def test_its_list_is_in_the_wheel(self, tmp_path: Path) -> None:
        (wheel,) = WheelBuilder(str(REPOSITORY / "api-server")).build(directory=str(tmp_path))

        with zipfile.ZipFile(wheel) as packed:
            assert len(packed.read("api_server/auth/common_passwords.txt").split()) == 3000


class TestWeaknessOf:
    @pytest.mark.parametrize("password", ["password", "PASSWORD1", "12345678"])
    def test_says_that_others_use_it(self, password: str) -> None:
        assert "most used" in (weakness(password) or "")

    @pytest.mark.parametrize(
        "password", ["ada.lovelace", "ADA.Lovelace", "ada@example.com", "Ada@Example.COM"]
    )
    def test_says_that_it_is_a_name_of_the_account(self, password: str) -> None:
        assert "user name" in (weakness(password) or "")

    @pytest.mark.parametrize("password", ["ada.lovelace.1843", "correct horse battery", "x" * 128])
    def test_has_nothing_against_others(self, password: str) -> None:
        assert weakness(password) is None


class TestNormalised:
    def test_makes_one_of_what_looks_the_same(self) -> None:
        composed, apart = "café-crème", unicodedata.normalize("NFD", "café-crème")

        assert composed != apart
        assert normalised(composed) == normalised(apart) == composed

    @pytest.mark.parametrize("password", ["plain", "\ufb01 and fi", "\uff11\uff12\uff13", "\ud800", "a\0b"])
    def test_leaves_what_looks_different(self, password: str) -> None:
        assert normalised(password) == password
