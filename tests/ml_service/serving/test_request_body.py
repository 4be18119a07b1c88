"""The quick way of reading a request says nothing that the careful one would not say, and loses nothing."""

import json
import math
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_service.serving.errors import InvalidInput, Malformed
from ml_service.serving.request_body import (
    Options,
    TwiceNamed,
    many_rows,
    parse,
    quick_single,
    repeated_keys,
    single_row,
)

TEXTS = st.sampled_from(
    [
        "a",
        "b",
        "",
        "é",
        "😀",
        '"',
        "\\",
        '\\"',
        "\x00",
        "\ud800",
        "}",
        '{"a":1}',
        '":"',
        "input_data",
        "explain",
    ]
) | st.text(max_size=3)
SCALARS = (
    st.none()
    | st.booleans()
    | st.sampled_from([0, -0.0, 2**70, 2**64 + 1, 1e-320, 10**400, math.nan, math.inf, 30.7])
    | st.integers()
    | st.floats()
    | TEXTS
)
SPACES = st.sampled_from(["", "", "", " ", "\n\t "])


class Pairs(list[tuple[str, Any]]):
    """An object as it is written: a key may stand there more than once."""


def objects(names: st.SearchStrategy[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Pairs]:
    return st.lists(st.tuples(names, values), max_size=4).map(Pairs)


NESTED = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | objects(TEXTS, inner), max_leaves=5
)
ROWS = objects(TEXTS, SCALARS) | objects(TEXTS, NESTED)
BODIES = objects(st.sampled_from(["input_data", "use_cache", "explain"]) | TEXTS, ROWS | NESTED) | st.builds(
    lambda row, more: Pairs([("input_data", row), *more]),
    ROWS,
    objects(st.sampled_from(["return_probabilities", "use_cache", "explain"]), st.booleans() | SCALARS),
)


@st.composite
def spelt(draw: st.DrawFn, value: Any) -> str:
    """JSON with any whitespace and with escapes that need not be."""
    space = draw(SPACES)
    if isinstance(value, Pairs):
        pairs = [f"{draw(spelt(name))}{space}:{space}{draw(spelt(each))}" for name, each in value]
        return space + "{" + space + ("," + space).join(pairs) + "}" + space
    if isinstance(value, list):
        return "[" + space + f"{space},".join(draw(spelt(each)) for each in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=draw(st.booleans()))
    return json.dumps(value)


@st.composite
def raw_bodies(draw: st.DrawFn) -> bytes:
    text = draw(spelt(draw(BODIES)))
    return text.encode("utf-8", "surrogatepass")


def carefully(raw: bytes) -> tuple[Any, Options] | None:
    """As the standard library reads it, with every pair in sight; None for what must be refused."""

    sizes: list[tuple[int, int]] = []

    def paired(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        sizes.append((len(dict(pairs)), len(pairs)))
        return dict(pairs)

    body = json.loads(raw, object_pairs_hook=paired)
    if (
        any(kept < sent for kept, sent in sizes)
        or not isinstance(body, dict)
        or not isinstance(body.get("input_data"), dict)
    ):
        return None
    options = {name: value for name, value in body.items() if name != "input_data"}
    known = {"return_probabilities", "use_cache", "explain"}
    if not known.issuperset(options) or not all(isinstance(each, bool) for each in options.values()):
        return None
    return body["input_data"], Options(**options)


def as_numbers(value: Any) -> Any:
    """Whole numbers beyond 64 bits come as the decimals that they are checked as."""
    if isinstance(value, dict):
        return {name: as_numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [as_numbers(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return repr(float(value)) if abs(value) < 10**300 else "inf"
    return repr(value)


def doubles(value: Any) -> Iterator[list[str]]:
    if isinstance(value, TwiceNamed):
        yield value.repeated
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from doubles(each)


def is_plain(raw: bytes, row: dict[str, Any]) -> bool:
    """Whether nothing stands in the way of the quick one."""
    flat = not any(isinstance(each, dict | list) for each in row.values())
    numbers = [each for each in row.values() if isinstance(each, int | float)]
    return b"\\" not in raw and flat and all(abs(each) < 10**300 for each in numbers) and can_be_said(raw)


def can_be_said(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


class TestQuickSingle:
    @settings(max_examples=300, deadline=None)
    @given(raw_bodies())
    def test_reads_as_the_careful_way_does_or_leaves_it_to_that(self, raw: bytes) -> None:
        quick, wanted = quick_single(raw), carefully(raw)

        if wanted is not None and is_plain(raw, wanted[0]):
            assert quick is not None
        if quick is not None:
            assert wanted is not None
            assert (as_numbers(quick[0]), quick[1]) == (as_numbers(wanted[0]), wanted[1])
            row, options = single_row(parse(raw))
            assert (as_numbers(row), options) == (as_numbers(quick[0]), quick[1])

    @pytest.mark.parametrize(
        "raw",
        [
            b'{"input_data":{"a":1,"a":1}}',
            b'{"input_data":{"a":"x","a":"x"}}',
            b'{"input_data":{"a":1},"input_data":{"a":1}}',
            b'{"input_data":{"a":1},"use_cache":true,"use_cache":true}',
            b'{"input_data":{"":"","":""}}',
            b'{"input_data":{"a":1,"\\u0061":1}}',
            b'{"input_data":{"a":{"b":1,"b":1}}}',
            b'\xef\xbb\xbf{"input_data":{"a":1}}',
            '{"input_data":{"a":1}}'.encode("utf-16"),
            b'{"input_data":{"a":"\xed\xa0\x80"}}',
            b'{"input_data":{"a":NaN}}',
            b'{"input_data":{"a":1e400}}',
            b'{"input_data":{"a":1}}x',
            b'{"input_data":{"a":1},}',
            b'{"input_data":{"a":1},"use_cache":1}',
            b'{"input_data":{"a":1},"explian":true}',
            b"",
            b"null",
        ],
    )
    def test_leaves_the_rest_alone(self, raw: bytes) -> None:
        assert quick_single(raw) is None


class TestParse:
    @settings(max_examples=200, deadline=None)
    @given(raw_bodies())
    def test_finds_every_key_that_is_there_twice(self, raw: bytes) -> None:
        expected: list[list[str]] = []

        def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            names = [name for name, _ in pairs]
            twice = [name for name in dict(pairs) if names.count(name) > 1]
            return TwiceFound(dict(pairs), twice) if twice else dict(pairs)

        class TwiceFound(dict[str, Any]):
            def __init__(self, found: dict[str, Any], twice: list[str]) -> None:
                super().__init__(found)
                self.twice = twice

        def collect(value: Any) -> None:
            if isinstance(value, TwiceFound):
                expected.append(value.twice)
            for each in (
                value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
            ):
                collect(each)

        whole = json.loads(raw, object_pairs_hook=note)
        collect(whole)

        parsed = parse(raw)

        assert sorted(doubles(parsed)) == sorted(expected)
        assert as_numbers(parsed) == as_numbers(whole)

    @pytest.mark.parametrize(
        "raw",
        [b"", b"{", b"nul", b'{"a":1}}', b"\xff", b'{"a":"\xff"}', b'{"a":"\n"}', b"{'a':1}", b'{"a":01}'],
    )
    def test_refuses_what_is_no_json(self, raw: bytes) -> None:
        with pytest.raises(Malformed):
            parse(raw)

    @pytest.mark.parametrize("raw", [b"[]", b"1", b'"x"', b"null", b"true"])
    def test_refuses_what_is_no_object(self, raw: bytes) -> None:
        with pytest.raises(InvalidInput):
            parse(raw)

    @pytest.mark.parametrize("digits", [309, 4300, 4301, 20_000])
    @pytest.mark.parametrize("sign", ["", "-"])
    def test_reads_a_number_of_any_length(self, digits: int, sign: str) -> None:
        body = parse(f'{{"input_data": {{"a": {sign}{"9" * digits}}}}}'.encode())

        value = body["input_data"]["a"]
        assert value > 10**308 if not sign else value < -(10**308)

    def test_takes_a_moment_for_a_hundred_thousand_keys_of_which_one_is_double(self) -> None:
        pairs = [f'"{number}":1' for number in range(100_000)]
        raw = f'{{"input_data": {{{",".join([*pairs, pairs[7]])}}}}}'.encode()

        began = time.perf_counter()
        row = parse(raw)["input_data"]

        assert time.perf_counter() - began < 2
        assert [each.field for each in repeated_keys(row, pointer=("input_data",), index=None)] == ["7"]


class TestSingleRow:
    def test_names_all_that_is_wrong_with_a_request(self) -> None:
        raw = b'{"inptu_data": {}, "use_cache": null, "explain": 0, "explain": 1}'

        with pytest.raises(InvalidInput) as refused:
            single_row(parse(raw))

        assert sorted((each.pointer, str(each.code)) for each in refused.value.errors or []) == [
            ("/explain", "duplicate_key"),
            ("/explain", "wrong_type"),
            ("/inptu_data", "unknown_field"),
            ("/input_data", "missing_field"),
            ("/use_cache", "null_not_allowed"),
        ]


class TestManyRows:
    def test_leaves_rows_as_they_were_sent(self) -> None:
        rows, options = many_rows(parse(b'{"inputs": [{"a": 1, "a": 2}, 5, null], "use_cache": false}'))

        assert rows == [{"a": 2}, 5, None]
        assert isinstance(rows[0], TwiceNamed)
        assert options == Options(use_cache=False)
