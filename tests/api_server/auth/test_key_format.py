import hashlib
import re
import string
import subprocess
import sys
import tomllib
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_server.auth import key_format
from api_server.auth.key_format import mint, parse

PAGE = (Path(__file__).parents[3] / "docs" / "api-keys.md").read_text()
SHAPE = re.compile(r"mlp_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}")
DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


class TestMint:
    def test_makes_a_key_whose_parts_are_what_they_are_said_to_be(self) -> None:
        key = mint()

        name, secret = key.text.removeprefix("mlp_").split("_")
        assert SHAPE.fullmatch(key.text)
        assert (len(name), len(secret)) == (8, 49)
        assert key.prefix == f"mlp_{name}"
        assert key.sha256 == hashlib.sha256(key.text.encode()).hexdigest()

    def test_puts_the_crc32_of_all_before_at_the_end(self) -> None:
        text = mint().text

        value = sum(DIGITS.index(digit) * 62**place for place, digit in enumerate(reversed(text[-6:])))
        assert value == zlib.crc32(text[:-6].encode())

    def test_uses_every_digit_and_never_the_same_key_twice(self) -> None:
        keys = [mint() for _ in range(300)]

        assert len({key.text[13:56] for key in keys}) == len({key.prefix for key in keys}) == 300
        assert set("".join(key.text[13:56] for key in keys)) == set(DIGITS)
        assert 43 * 5.954 > 256  # bits: log2(62) for each digit

    def test_shows_no_secret(self) -> None:
        key = mint()

        assert key.text not in repr(key)
        assert key.text[13:] not in f"{key} {key!r}"
        assert key.prefix in repr(key)


class TestParse:
    def test_gives_back_what_was_minted(self) -> None:
        key = mint()

        parsed = parse(key.text)

        assert parsed is not None
        assert (parsed.prefix, parsed.sha256) == (key.prefix, key.sha256)

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: "",
            lambda text: text[:-1],
            lambda text: text + "0",
            lambda text: " " + text,
            lambda text: text + "\n",
            lambda text: text[:-1] + "\n",
            lambda text: text.upper(),
            lambda text: text.swapcase(),
            lambda text: "mlq_" + text[4:],
            lambda text: text[:12] + "-" + text[13:],
            lambda text: text[:20] + "é" + text[21:],
            lambda text: text[:20] + "\u0661" + text[21:],
            lambda text: text[:20] + "\ud800" + text[21:],
            lambda text: text[:20] + "\0" + text[21:],
            lambda text: text * 100_000,
        ],
    )
    def test_knows_what_is_no_key(self, change: Callable[[str], str]) -> None:
        assert parse(change(mint().text)) is None

    def test_notices_every_single_wrong_letter(self) -> None:
        text = mint().text
        for place in range(4, len(text)):
            if text[place] != "_":
                other = "A" if text[place] != "A" else "B"
                assert parse(text[:place] + other + text[place + 1 :]) is None, place

    @given(st.text() | st.from_regex(SHAPE, fullmatch=True))
    def test_never_raises(self, text: str) -> None:
        assert parse(text) is None


class TestPage:
    def test_its_script_tells_keys_from_others(self, tmp_path: Path) -> None:
        script = tmp_path / "check_keys.py"
        script.write_text(block("python"))
        key = mint().text
        typo = key[:20] + ("A" if key[20] != "A" else "B") + key[21:]

        ran = subprocess.run(
            [sys.executable, str(script)],
            input=f"{key}\n{typo}\nnothing\n",
            capture_output=True,
            text=True,
            check=True,
        )

        assert ran.stdout.splitlines() == ["a key", "not a key", "not a key"]

    def test_its_rule_finds_keys_in_a_text(self) -> None:
        (rule,) = tomllib.loads(block("toml"))["rules"]
        key = mint().text

        assert re.findall(rule["regex"], f'KEY="{key}"\nurl=/mlp_models/{key[:-1]}') == [key]
        assert rule["keywords"] == ["mlp_"]
        assert rule["regex"] in (key_format.__doc__ or "")
