"""Input made to break things, on every route that there is: it is refused, and nothing fails."""

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from api_server.main import PREFIX, create_app
from api_server.settings import Settings
from tests.api_server.factories import SignedIn

JSON = {"Content-Type": "application/json"}
DEEP = {"a bomb": b"[" * 200_000 + b"]" * 200_000, "deep": b'{"a":' * 500 + b"1" + b"}" * 500}
BROKEN = {
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "not finite": b'{"name": NaN}',
    "empty": b"",
    "half": b'{"name"',
}
FORM = "application/x-www-form-urlencoded"
METHODS = ("get", "post", "put", "patch", "delete")

Call = tuple[str, str, dict[str, Any]]
"""Method, path, and what goes with them."""


@pytest.fixture(scope="session")
def operations(settings: Settings) -> list[Call]:
    paths = create_app(settings).openapi()["paths"]
    return [
        (method.upper(), path.removeprefix(PREFIX), operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method in METHODS and path.startswith(PREFIX)
    ]


def filled(path: str, value: str) -> str:
    while "{" in path:
        path = path[: path.index("{")] + value + path[path.index("}") + 1 :]
    return path


def media_types(operation: dict[str, Any]) -> set[str]:
    return set(operation.get("requestBody", {}).get("content", {}))


async def answers(client: httpx2.AsyncClient, calls: list[Call]) -> list[tuple[str, str, int]]:
    """Those that are no refusal."""
    found = []
    for method, path, arguments in calls:
        answer = await client.request(method, path, **arguments)
        if not 400 <= answer.status_code < 500:
            found.append((method, path, answer.status_code))
    return found


async def test_deep_and_broken_bodies_are_refused_everywhere(operations: list[Call], maker: SignedIn) -> None:
    calls = [
        (method, filled(path, str(uuid.uuid4())), {"content": body, "headers": JSON})
        for method, path, operation in operations
        if "application/json" in media_types(operation)
        for body in (*DEEP.values(), *BROKEN.values())
    ]

    assert len(calls) > 50
    assert await answers(maker.http, calls) == []


def with_zeros(method: str, path: str, operation: dict[str, Any]) -> Iterator[Call]:
    """A call for each place of the operation in which text may stand."""
    here, kinds = filled(path, str(uuid.uuid4())), media_types(operation)
    if "application/json" in kinds:
        for text in ("a\0b", "\ud800"):
            body = json.dumps({"name": text, "username": text, "config": {"a": [text]}})
            yield method, here, {"content": body, "headers": JSON}
    if FORM in kinds:
        form = "grant_type=password&username=a%00b&password=a%00b"
        yield method, here, {"content": form, "headers": {"Content-Type": FORM}}
    if "{" in path:
        yield method, filled(path, "a%00b"), {}
    if method == "GET":
        yield from ((method, f"{here}?{name}=%00", {}) for name in ("q", "sort", "cursor", "status", "name"))


async def test_text_that_cannot_be_kept_is_refused_everywhere(
    operations: list[Call], maker: SignedIn
) -> None:
    calls = [call for operation in operations for call in with_zeros(*operation)]

    assert len(calls) > 50
    assert await answers(maker.http, calls) == []


@pytest.mark.parametrize("field", ["name", "description", "tags"])
async def test_forms_with_a_zero_in_them_are_refused(maker: SignedIn, field: str) -> None:
    fields = {"name": "a name", field: "a\0b"}

    answer = await maker.http.post("/datasets", data=fields, files={"file": ("a.csv", b"a,b\n1,2\n")})

    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Authorization", b"Bearer \xff\xfe"),
        ("Authorization", b"Bearer " + b"a" * 20_000),
        ("Authorization", b"Basic \xe2\x28\xa1"),
        ("X-API-Key", b"\xff" * 100),
        ("If-Match", b"\xff\xfe"),
        ("Idempotency-Key", b"\xff" * 300),
        ("Content-Type", b"application/json; charset=\xff"),
        ("Accept", b"\xff"),
        ("X-Request-ID", b"\xff"),
    ],
)
async def test_headers_with_odd_bytes_break_nothing(maker: SignedIn, header: str, value: bytes) -> None:
    for method, path, body in (("GET", "/projects", None), ("POST", "/projects", {"name": "a project"})):
        answer = await maker.http.request(method, path, json=body, headers=[(header.encode(), value)])

        assert answer.status_code < 500, answer.text


async def test_numbers_beyond_all_bounds_break_nothing(maker: SignedIn) -> None:
    huge = "9" * 400
    for path in (
        f"/projects?limit={huge}",
        f"/models/{uuid.uuid4()}/versions/{huge}",
        f"/jobs?limit=-{huge}",
    ):
        answer = await maker.http.get(path)

        assert 400 <= answer.status_code < 500, answer.text


async def test_cursors_that_are_bombs_are_refused(maker: SignedIn) -> None:
    bombs = (b"[" * 9_000, b'["-created_at", "a\\u0000", "' + str(uuid.uuid4()).encode() + b'"]')
    for bomb in bombs:
        cursor = base64.urlsafe_b64encode(bomb).decode().rstrip("=")

        answer = await maker.http.get(f"/projects?cursor={cursor}&sort=-created_at")

        assert answer.status_code in (400, 422), answer.text
