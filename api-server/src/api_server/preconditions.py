"""ETag and If-Match: a change is refused when somebody else changed the thing in between."""

from typing import Annotated

from fastapi import Depends, Header, Response

from platform_kit.plumbing.problems import Problem


class ChangedMeanwhile(Problem):
    status, title = 412, "Changed meanwhile"


def etag_of(revision: int) -> str:
    return f'"{revision}"'


def set_etag(response: Response, revision: int) -> None:
    response.headers["ETag"] = etag_of(revision)


def _if_match(
    if_match: Annotated[str | None, Header(description="the ETag that you last read")] = None,
) -> str | None:
    return if_match


IfMatch = Annotated[str | None, Depends(_if_match)]


def require_match(if_match: str | None, revision: int) -> None:
    """Raise ChangedMeanwhile unless the caller has seen this revision, or did not ask."""
    if if_match is None or if_match.strip() == "*":
        return
    seen = {tag.strip().removeprefix("W/") for tag in if_match.split(",")}
    if etag_of(revision) not in seen:
        raise ChangedMeanwhile(
            f"This is at ETag {etag_of(revision)} now, not {if_match}; read it again, then repeat the change."
        )
