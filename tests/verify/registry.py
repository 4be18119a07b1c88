"""The table of promises, and the words to write one in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.verify.scene import Scene

Check = Callable[[Scene], str]


class Broken(AssertionError):
    """A promise does not hold; the sentence says what was seen instead."""


@dataclass(frozen=True)
class Promise:
    ids: tuple[str, ...]
    sentence: str
    check: Check

    def matches(self, words: list[str]) -> bool:
        text = f"{self.sentence} {self.check.__module__}".lower()
        return not words or any(word.upper() in self.ids or word.lower() in text for word in words)


PROMISES: list[Promise] = []


def promise(ids: str, sentence: str) -> Callable[[Check], Check]:
    """Put a check into the table. ids: one or more, separated by blanks."""

    def add(check: Check) -> Check:
        PROMISES.append(Promise(tuple(ids.split()), sentence, check))
        return check

    return add


def expect(condition: object, sentence: str) -> None:
    if not condition:
        raise Broken(sentence)


def expect_status(response: httpx2.Response, *statuses: int) -> Any:
    """The body of an answer that must have one of `statuses`."""
    asked = f"{response.request.method} {response.request.url.path}"
    wanted = " or ".join(map(str, statuses))
    expect(
        response.status_code in statuses,
        f"{asked} answered {response.status_code}, not {wanted}: {response.text[:300]}",
    )
    return response.json() if response.content else None


PROBLEM_MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}


def expect_problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    """The answer must be a whole problem, whose request id is the one in the header."""
    problem: dict[str, Any] = expect_status(response, status)
    asked = f"{response.request.method} {response.request.url.path}"
    media_type = response.headers.get("content-type", "")
    expect(media_type.startswith("application/problem+json"), f"{asked} answered {status} as {media_type!r}")
    missing = PROBLEM_MEMBERS - problem.keys()
    expect(not missing, f"the problem of {asked} lacks {sorted(missing)}")
    expect(
        problem["status"] == status,
        f"the problem of {asked} says status {problem['status']}, the answer {status}",
    )
    sent = response.headers.get("x-request-id")
    expect(
        problem["request_id"] == sent,
        f"request id {problem['request_id']} in the problem, {sent} in the header",
    )
    return problem


def issues_of(problem: dict[str, Any]) -> set[tuple[str | None, str]]:
    """(field, code) of each error."""
    return {(each.get("field"), each["code"]) for each in problem.get("errors") or []}
