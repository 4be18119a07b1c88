"""Input that no part of ours can keep: refused at the door, with where it is.

PostgreSQL stores neither U+0000 nor half a surrogate pair in text or JSON, and no numbers in JSON that are not finite.
What is nested deeply ends whatever walks it recursively, long after it was accepted.
"""

import asyncio
import json
import math
import re
from collections.abc import Collection, Iterator
from typing import Any

from fastapi import FastAPI, Request
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platform_kit.contract.problem import Issue, IssueCode, pointer_to, shown
from platform_kit.plumbing.problems import InvalidRequest, Malformed, Problem, problem_response

MOST_LEVELS = 64
MOST_JSON_BYTES = 2 * 1024 * 1024
"""Rows for many predictions go to ml-service, which reads its bodies itself; files are not JSON bodies."""
INTERNAL, MOST_INTERNAL_BYTES = "/internal/", 64 * 1024 * 1024
"""What workers hand in: the profile of a wide table is large."""
MOST_QUERY_BYTES = 16 * 1024
MOST_ISSUES = 20
ON_THE_LOOP_BYTES = 256 * 1024
"""A larger body would hold up the other requests while it is looked through."""

_JSON = re.compile(r"application/(?:[a-z0-9.-]+\+)?json", re.IGNORECASE)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
"""Each is looked through once, whether it ends or not."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_MARKS = (b"\\u0000", b"\\ud", b"\\uD", b"NaN", b"Infinity")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_LARGE_NUMBER = re.compile(rb"[eE]\+?\d{3}")

Where = tuple[str | int, ...]


class NotHere(Problem):
    status, title, code = 404, "Not found", "not_found"


class AddressTooLong(Problem):
    status, title, code = 414, "Address too long", "address_too_long"


class BodyTooLarge(Problem):
    status, title, code = 413, "Too large", "too_large"


class StorableAddress:
    """Refuse an address in which U+0000 stands, or whose query is endless, on any route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._app
        if scope["type"] == "http":
            try:
                _check_address(scope["path"], scope.get("query_string", b""))
            except Problem as refusal:
                answer = problem_response(Request(scope), refusal.as_detail())
        await answer(scope, receive, send)


class StorableJson:
    """Look through every JSON body before a route gets it. A body is held in memory, as the routes do themselves.

    but_for: paths of routes that read their bodies themselves.
    """

    def __init__(self, app: ASGIApp, *, but_for: Collection[str] = ()) -> None:
        self._app, self._but_for = app, frozenset(but_for)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = Headers(scope=scope).get("Content-Type", "") if scope["type"] == "http" else ""
        if not _JSON.match(kind.strip()) or _path_of(scope) in self._but_for:
            await self._app(scope, receive, send)
            return
        answer, passed_on = self._app, receive
        try:
            inside = scope["path"].startswith(INTERNAL)
            messages = await _read(receive, MOST_INTERNAL_BYTES if inside else MOST_JSON_BYTES)
            body = b"".join(each.get("body", b"") for each in messages)
            if len(body) <= ON_THE_LOOP_BYTES:
                check_json(body)
            else:
                await asyncio.to_thread(check_json, body)
            passed_on = _again(messages, receive)
        except Problem as refusal:
            answer = problem_response(Request(scope), refusal.as_detail())
        await answer(scope, passed_on, send)


def check_json_bodies(app: FastAPI, *, but_for: Collection[str] = ()) -> None:
    """For a service whose routes leave the reading of JSON to FastAPI; but_for: paths of those that do not."""
    app.user_middleware.append(
        Middleware(StorableJson, but_for=but_for)
    )  # innermost, so that refusals are answers like any other


def storable(value: Any, *, level: int = 0) -> Any:
    """A decoded JSON value as it can be kept, where it may not be refused any more.

    Characters that cannot be kept become U+FFFD, numbers that are not finite text, and what is nested too deeply `…`.
    """
    if level > MOST_LEVELS:
        return "…"
    match value:
        case dict():
            return {_kept(name): storable(each, level=level + 1) for name, each in value.items()}
        case list():
            return [storable(each, level=level + 1) for each in value]
        case str():
            return _kept(value)
        case float() if not math.isfinite(value):
            return shown(value)
    return value


def check_json(body: bytes) -> None:
    """Raises Malformed for what is nested too deeply, InvalidRequest for text and numbers that cannot be kept.

    What does not parse is left to whoever parses it.
    """
    if _is_deep(body):
        raise Malformed(f"The body is not JSON that we take: it is nested deeper than {MOST_LEVELS} levels.")
    if not any(mark in body for mark in _MARKS) and not _LARGE_NUMBER.search(body):
        return  # far cheaper than a look at every value, and so it is with nearly every body
    try:
        value = json.loads(body)
    except ValueError:
        return
    issues = [issue for issue, _ in zip(_unstorable(value, ()), range(MOST_ISSUES), strict=False)]
    if issues:
        named = ", ".join(dict.fromkeys(each.pointer or "the body" for each in issues))
        raise InvalidRequest(f"Please mend {named}.", errors=issues)


def _check_address(path: str, query: bytes) -> None:
    if "\0" in path:
        raise NotHere("There is nothing at an address with U+0000 in it.")
    if len(query) > MOST_QUERY_BYTES:
        raise AddressTooLong(f"The query is longer than {MOST_QUERY_BYTES} bytes; send less in it.")
    if b"%00" in query or b"\0" in query:
        name = query.partition(b"%00")[0].rpartition(b"&")[2].partition(b"=")[0].decode(errors="replace")
        issue = _issue(f"query:{name}", name, IssueCode.MALFORMED, "text without U+0000")
        raise InvalidRequest(f"Please mend {name}.", errors=[issue])


def _is_deep(body: bytes) -> bool:
    if body.count(b"[") + body.count(b"{") <= MOST_LEVELS:
        return False
    level = 0
    for bracket in _STRING.sub(b"", body).translate(None, _NO_BRACKETS):
        level += 1 if bracket in b"[{" else -1
        if level > MOST_LEVELS:
            return True
    return False


def _unstorable(value: Any, where: Where) -> Iterator[Issue]:
    match value:
        case dict():
            for name, each in value.items():
                if _is_unstorable(name):
                    yield _text_issue(where)
                else:
                    yield from _unstorable(each, (*where, name))
        case list():
            for index, each in enumerate(value):
                yield from _unstorable(each, (*where, index))
        case str() if _is_unstorable(value):
            yield _text_issue(where)
        case float() if not math.isfinite(value):
            yield _issue(pointer_to(*where), _field(where), IssueCode.NOT_FINITE, "a finite number")


def _path_of(scope: Scope) -> str:
    """As routes are matched: without the prefix that a proxy has taken off, see `ForwardedPrefix`."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path


def _kept(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def _is_unstorable(text: str) -> bool:
    return _UNSTORABLE.search(text) is not None


def _text_issue(where: Where) -> Issue:
    expected = "text without U+0000 and without half a surrogate pair"
    return _issue(pointer_to(*where), _field(where), IssueCode.MALFORMED, expected)


def _field(where: Where) -> str | None:
    return next((each for each in reversed(where) if isinstance(each, str)), None)


def _issue(pointer: str, field: str | None, code: IssueCode, expected: str) -> Issue:
    return Issue(pointer=pointer, field=field, code=code, expected=expected)


async def _read(receive: Receive, most_bytes: int) -> list[Message]:
    messages, size = [], 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > most_bytes:
            raise BodyTooLarge(f"The body is larger than {most_bytes} bytes.")
        if message["type"] != "http.request" or not message.get("more_body", False):
            return messages


def _again(messages: list[Message], receive: Receive) -> Receive:
    waiting = iter(messages)

    async def next_message() -> Message:
        return next(waiting, None) or await receive()

    return next_message
