"""A request is taken apart without changing what ml-service is to judge."""

import json
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st

from api_server.predictions.request_body import take_apart
from api_server.registry.errors import ModelNotFound
from platform_kit.plumbing.problems import InvalidRequest, Malformed

TEXT = st.text(max_size=8)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)
MEMBERS = st.lists(st.tuples(TEXT.filter(lambda name: name != "model_id"), VALUES), max_size=4)
SPACE = st.text(" \t\n\r", max_size=2)


def written(members: list[tuple[str, Any]], space: str, *, is_ascii: bool) -> str:
    def dumped(value: Any) -> str:
        return f"{space}{json.dumps(value, ensure_ascii=is_ascii)}{space}"

    inner = ",".join(f"{dumped(name)}:{dumped(value)}" for name, value in members)
    return f"{space}{{{inner or space}}}{space}"


class TestTakeApart:
    @pytest.mark.parametrize(
        ("body", "rest"),
        [
            ('{"model_id": "m", "input_data": {"a": 1}}', '{"input_data": {"a": 1}}'),
            ('{"input_data": {"a": 1}, "model_id": "m"}', '{"input_data": {"a": 1}}'),
            (
                '{"explain": true , "model_id":"m" ,\n"input_data": {}}',
                '{"explain": true , "input_data": {}}',
            ),
            ('{"model\\u005fid": "m", "input_data": {"model_id": 2}}', '{"input_data": {"model_id": 2}}'),
            ('{ "model_id": "m" }', "{  }"),
        ],
    )
    def test_cuts_the_models_name_out(self, body: str, rest: str) -> None:
        asked = take_apart(body.encode())

        assert (asked.model, asked.rest.decode()) == ("m", rest)

    @pytest.mark.parametrize(
        "row",
        [
            '{"a": 1, "a": 2}',
            '{"a": NaN, "b": -Infinity, "c": 1e400}',
            '{"a": 1.0, "b": 1.00, "c": 1E0, "d": -0.0}',
            '{"a": "\\u0000", "b": "\\ud800", "c": "\\u00e9\\/"}',
            '{"a": [[{"b": []}]]}',
            '"no object"',
        ],
    )
    def test_leaves_the_rest_as_it_was_written(self, row: str) -> None:
        asked = take_apart(f'{{"model_id": "m", "input_data": {row}, "input_data": {row}}}'.encode())

        assert asked.rest.decode() == f'{{"input_data": {row}, "input_data": {row}}}'

    @given(MEMBERS, MEMBERS, SPACE, st.booleans())
    def test_gives_the_other_members_whatever_they_are(
        self, before: list[tuple[str, Any]], after: list[tuple[str, Any]], space: str, is_ascii: bool
    ) -> None:
        body = written([*before, ("model_id", "m"), *after], space, is_ascii=is_ascii)
        pairs = json.loads(body, object_pairs_hook=list)

        rest = take_apart(body.encode()).rest

        assert json.loads(rest, object_pairs_hook=list) == [each for each in pairs if each[0] != "model_id"]

    @given(st.text('{}[]":,\\ mn01eE+-.', max_size=30))
    def test_takes_what_the_usual_decoder_takes(self, text: str) -> None:
        body = f'{{"model_id": "m"{text}'

        assert _is_taken(body) == _is_an_object(body)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b'{"model_id": "m"',
            b'{"model_id": "m",}',
            b'{"a" 1}',
            b'{"a": 1} x',
            b"{1: 2}",
            b'{"a": \xff}',
        ],
    )
    def test_refuses_what_is_no_json(self, body: bytes) -> None:
        with pytest.raises(Malformed, match=r"^The body is not JSON: "):
            take_apart(body)

    @pytest.mark.parametrize(
        ("body", "pointer", "code", "got"),
        [
            (b'["model_id", "m"]', "", "wrong_type", "an array"),
            (b'{"model_id": "m", "input_data": {}, "model_id": "n"}', "/model_id", "duplicate_key", None),
            (b'{"model_id": "m", "input_data": ' + b"[" * 5000 + b"]" * 5000 + b"}", "", "malformed", None),
        ],
        ids=["an array", "twice", "deep"],
    )
    def test_says_where_it_is_wrong(self, body: bytes, pointer: str, code: str, got: str | None) -> None:
        with pytest.raises(InvalidRequest) as refused:
            take_apart(body)

        (issue,) = refused.value.errors or []
        assert (issue.pointer, issue.code, issue.got) == (pointer, code, got)

    def test_names_all_that_is_wrong_if_the_model_is(self) -> None:
        with pytest.raises(RequestValidationError) as refused:
            take_apart(b'{"model_id": 7, "explain": 1, "extra": 2}')

        places = {each["loc"][1] for each in refused.value.errors()}
        assert places == {"model_id", "explain", "extra", "input_data"}

    @pytest.mark.parametrize("name", ["a/versions/1", "..", ".", "a b", "\\u00e9", "\\u0000", "a?b=c"])
    def test_knows_that_no_model_has_such_a_name(self, name: str) -> None:
        with pytest.raises(ModelNotFound):
            take_apart(f'{{"model_id": "{name}", "input_data": {{}}}}'.encode())


def _is_taken(body: str) -> bool:
    try:
        take_apart(body.encode())
    except Malformed:
        return False
    except (InvalidRequest, RequestValidationError):
        pass  # two models, or one that is none
    return True


def _is_an_object(body: str) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False
