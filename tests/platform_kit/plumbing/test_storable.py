"""Input that nothing of ours can keep, at the door."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from platform_kit.plumbing.problems import InvalidRequest, Malformed
from platform_kit.plumbing.storable import MOST_LEVELS, check_json, check_json_bodies, storable
from tests.platform_kit.plumbing.sample import client, service

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    app = service()
    check_json_bodies(app)
    async with client(app) as opened:
        yield opened


def issues(body: bytes) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as refused:
        check_json(body)
    return [(each.pointer, each.code) for each in refused.value.errors or []]


class TestCheckJson:
    @pytest.mark.parametrize("pair", [("[", "]"), ('{"a":', "}")])
    @pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 900, 200_000])
    def test_refuses_what_is_nested_deeply(self, pair: tuple[str, str], levels: int) -> None:
        body = pair[0] * levels + "1" + pair[1] * levels

        for each in (body, pair[0] * levels, '{"a": "\\"[", "b": ' + body + "}"):
            with pytest.raises(Malformed, match="nested deeper than 64 levels"):
                check_json(each.encode())

    @pytest.mark.parametrize(
        "value",
        [
            [[[]]] * 500,
            {"a": "[" * 500},
            {"a": '\\"[{' * 500, "b": [1]},
            {"\\": "{" * 300},
            {"text": "a \\u0000 that is none, NaN and Infinity", "n": 1e100},
            {"emoji": "😀"},
        ],
    )
    def test_takes_what_only_looks_like_it(self, value: Any) -> None:
        check_json(json.dumps(value).encode())
        check_json(json.dumps(value, ensure_ascii=False, indent=1).encode())

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"\xff\xfe", b'{"a": "\\u0000"', b'"' + b"[" * 100, b"]" * 100]
    )
    def test_leaves_what_does_not_parse_to_the_parser(self, body: bytes) -> None:
        check_json(body)

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b'{"a": "x\\u0000y"}', [("/a", "malformed")]),
            (b'{"a": [1, {"b": "\\ud800"}]}', [("/a/1/b", "malformed")]),
            (b'{"tags": {"\\u0000": 1}}', [("/tags", "malformed")]),
            (b'{"a": NaN, "b": -Infinity, "c": 1e999}', [(f"/{each}", "not_finite") for each in "abc"]),
            (b'"\\u0000"', [("", "malformed")]),
            (b'{"a": "\\\\\\u0000"}', [("/a", "malformed")]),
        ],
    )
    def test_names_each_value_that_cannot_be_kept(self, body: bytes, expected: list[tuple[str, str]]) -> None:
        assert issues(body) == expected

    def test_names_no_more_than_a_few(self) -> None:
        assert len(issues(json.dumps(["\0"] * 1000).encode())) == 20

    @pytest.mark.parametrize(
        "body",
        [
            b'"' + b'\\"' * 500_000,
            b"[" * 20 + b'"' * 1_000_000,
            b'"' + b'\\"' * 500_000 + b"\\",
            b'[{"a": "b"}],' * 80_000,
        ],
    )
    def test_takes_time_in_proportion(self, body: bytes) -> None:
        began = time.perf_counter()

        check_json(b"[]" * 40 + body)

        assert time.perf_counter() - began < 2


class TestStorable:
    def test_changes_nothing_that_can_be_kept(self) -> None:
        value = {"a": [1, 2.5, None, True, "é\n"], "b": {"c": {}}}

        assert storable(value) == value

    def test_puts_something_in_the_place_of_what_cannot(self) -> None:
        value = {"a\0": "\ud800b", "c": [float("nan"), float("-inf")]}

        assert storable(value) == {"a\ufffd": "\ufffdb", "c": ["NaN", "-Infinity"]}

    def test_ends_what_is_nested_deeply(self) -> None:
        value: Any = 1
        for _ in range(900):
            value = [value]

        kept = json.dumps(storable(value), ensure_ascii=False)

        assert kept == "[" * (MOST_LEVELS + 1) + '"…"' + "]" * (MOST_LEVELS + 1)


class TestStorableJson:
    async def test_leaves_alone_what_reads_its_bodies_itself(self) -> None:
        app = service()
        check_json_bodies(app, but_for={"/anything"})
        body = b'{"a": {"b": "\\u0000"}}'

        async with client(app) as http:
            spared = await http.post("/anything", content=body, headers=JSON)
            slashed = await http.post(
                "/anything/", content=body, headers={**JSON, "X-Forwarded-Prefix": "/api"}
            )
            other = await http.post("/things", content=body, headers=JSON)

        assert [each.status_code for each in (spared, slashed, other)] == [200, 200, 422]

    async def test_lets_the_rest_through_unchanged(self, http: httpx2.AsyncClient) -> None:
        async def in_pieces() -> AsyncIterator[bytes]:
            for each in (b'{"name": "a"', b', "size"', b": 1}"):
                yield each

        whole = await http.post("/things", json={"name": "a", "size": 1})
        pieces = await http.post("/things", content=in_pieces(), headers=JSON)

        assert [whole.json(), pieces.json()] == [{"ok": True}] * 2

    @pytest.mark.parametrize(
        "kind", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"]
    )
    async def test_answers_a_problem_with_the_place(self, http: httpx2.AsyncClient, kind: str) -> None:
        answer = await http.post(
            "/anything", content=b'{"a": {"b": "\\u0000"}}', headers={"Content-Type": kind}
        )

        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert answer.json()["errors"][0]["pointer"] == "/a/b"
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]

    @pytest.mark.parametrize("levels", [100, 900, 200_000])
    async def test_answers_400_to_depths(self, http: httpx2.AsyncClient, levels: int) -> None:
        body = b'{"a":' + b"[" * levels + b"]" * levels + b"}"

        answer = await http.post("/anything", content=body, headers=JSON)

        assert (answer.status_code, answer.json()["code"]) == (400, "malformed")

    @pytest.mark.parametrize("body", [b"\xff\xfe{}", b'{"a": "\xff"}', b'{"a": 1' + b"0" * 5000 + b"}"])
    async def test_leaves_other_nonsense_a_400(self, http: httpx2.AsyncClient, body: bytes) -> None:
        assert (await http.post("/anything", content=body, headers=JSON)).status_code == 400


class TestStorableAddress:
    @pytest.mark.parametrize("path", ["/names/%00", "/names/a%00b", "/%00"])
    async def test_is_no_path_with_a_zero(self, http: httpx2.AsyncClient, path: str) -> None:
        answer = await http.get(path)

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

    async def test_is_no_query_with_a_zero(self, http: httpx2.AsyncClient) -> None:
        answer = await http.get("/names/x?a=1&said=b%00c")

        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "query:said")

    async def test_is_no_endless_query(self, http: httpx2.AsyncClient) -> None:
        answer = await http.get(f"/names/x?said={'a' * 20_000}")

        assert (answer.status_code, answer.json()["code"]) == (414, "address_too_long")

    @pytest.mark.parametrize(
        "path", ["/names/%FF%C3%28", "/names/%ED%A0%80", "/names/x?said=%FF&%ED%A0%80=1"]
    )
    async def test_may_hold_any_other_bytes(self, http: httpx2.AsyncClient, path: str) -> None:
        assert (await http.get(path)).status_code == 200
