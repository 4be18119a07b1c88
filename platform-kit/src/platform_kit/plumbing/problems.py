"""Every error that leaves a service is an RFC 9457 problem.

Business errors are subclasses of `Problem`: one class for each fact, with its status, and raised with a sentence that
says what is and what to do about it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import PydanticSerializationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platform_kit.contract.problem import Issue, IssueCode, ProblemDetail, pointer_to

MEDIA_TYPE = "application/problem+json"
REQUEST_ID_HEADER = "X-Request-ID"

log = structlog.get_logger(__name__)


class Problem(Exception):
    """Something the caller should be told. The default is a fault of ours."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    code: ClassVar[str] = ""
    """A stable name for programs; the class name in snake case unless given."""

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[Issue] | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors) if errors is not None else None
        self.headers = dict(headers or {})
        if retry_after_seconds is not None:
            self.headers["Retry-After"] = str(retry_after_seconds)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in cls.__dict__:
            cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()

    def as_detail(self) -> ProblemDetail:
        return ProblemDetail(
            title=self.title, status=self.status, detail=self.detail, code=self.code, errors=self.errors
        )


class Unavailable(Problem):
    """A part we need does not answer; the caller should come back."""

    status, title, code = 503, "Service unavailable", "unavailable"

    def __init__(self, detail: str, *, retry_after_seconds: int = 2) -> None:
        super().__init__(detail, retry_after_seconds=retry_after_seconds)


class InvalidRequest(Problem):
    status, title, code = 422, "Invalid request", "invalid_request"


class Malformed(Problem):
    status, title, code = 400, "Malformed request", "malformed"


class NotJson(Problem):
    status, title = 415, "Not JSON"


def add_problem_handlers(app: FastAPI, *, show_values: bool) -> None:
    """Make `app` answer every error as a problem; without `show_values` no `got` is sent."""

    def respond(
        request: Request, detail: ProblemDetail, headers: Mapping[str, str] | None = None
    ) -> Response:
        return problem_response(request, detail, headers=headers, show_values=show_values)

    async def on_problem(request: Request, error: Problem) -> Response:
        request.state.problem = error  # for middleware that writes down what was refused
        if error.status >= 500:
            log.warning("problem", code=error.code, detail=error.detail, path=request.url.path)
        return respond(request, error.as_detail(), error.headers)

    async def on_http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(sorted(_methods_at(request)))
        return respond(request, _from_http(error), headers)

    async def on_validation(request: Request, error: RequestValidationError) -> Response:
        return respond(request, _from_validation(request, error))

    async def on_anything(request: Request, error: Exception) -> Response:
        return respond(request, _from_anything(request, error))

    app.add_exception_handler(Problem, on_problem)  # type: ignore[arg-type]  # Starlette types handlers by Exception
    app.add_exception_handler(HTTPException, on_http)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, on_validation)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, on_anything)


class AnswerFaults:
    """Answer what no handler took inside of the other middleware, so that this answer too has all the headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = has_begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except Exception as error:
            if has_begun or scope["type"] != "http":
                raise
            request = Request(scope)
            await problem_response(request, _from_anything(request, error))(scope, receive, send)


def _from_anything(request: Request, error: Exception) -> ProblemDetail:
    refusal = _refusal_in(error)
    if refusal is not None:
        log.warning("request.refused_late", path=request.url.path, error=type(error).__name__)
        return refusal.as_detail()
    log.error("request.failed", path=request.url.path, exc_info=error)
    detail = "This is a fault of the platform. It was logged under this request_id."
    return ProblemDetail(title="Internal error", status=500, detail=detail, code="internal_error")


def _refusal_in(error: Exception) -> Problem | None:
    """What is wrong with the request itself, where that shows only deep inside."""
    if isinstance(error, RecursionError):
        return Malformed("Something in this request is nested too deeply.")
    if getattr(getattr(error, "orig", None), "sqlstate", None) in _NOT_STORABLE:
        return InvalidRequest(
            "A value in this request cannot be kept: it holds U+0000, or a number that is too large."
        )
    return None


_NOT_STORABLE = {"22000", "22003", "22021", "22P02", "22P05"}
"""SQLSTATEs by which a database refuses a value itself. No statement of ours divides or casts what a caller sent."""


def problem_response(
    request: Request,
    detail: ProblemDetail,
    *,
    headers: Mapping[str, str] | None = None,
    show_values: bool = True,
) -> Response:
    errors = detail.errors
    if errors and not show_values:
        errors = [each.model_copy(update={"got": None}) for each in errors]
    request_id = getattr(request.state, "request_id", None)
    body = detail.model_copy(
        update={"instance": request.url.path, "request_id": request_id, "errors": errors}
    )
    sent = dict(headers or {})
    if request_id is not None:
        # An error that nobody handled is answered outside the middleware that otherwise sets this.
        sent[REQUEST_ID_HEADER] = request_id
    return Response(
        _as_json(body),
        status_code=detail.status,
        media_type=MEDIA_TYPE,
        headers=sent,
    )


def _as_json(body: ProblemDetail) -> str:
    try:
        return body.model_dump_json(exclude_none=True)
    except PydanticSerializationError:
        # It quotes half a surrogate pair, which JSON can say only as an escape.
        return json.dumps(body.model_dump(exclude_none=True))


_TITLES = {
    400: "Malformed request",
    401: "Not signed in",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    413: "Too large",
    415: "Unsupported media type",
    429: "Too many requests",
}


def _methods_at(request: Request) -> set[str]:
    """Of all routes with this path; the framework names those of the first alone."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return found


def _from_http(error: HTTPException) -> ProblemDetail:
    title = _TITLES.get(error.status_code, "Request refused")
    if error.status_code in _NOWHERE and error.detail == HTTPStatus(error.status_code).phrase:
        error.detail = _NOWHERE[error.status_code]
    code = Malformed.code if error.status_code == Malformed.status else title.lower().replace(" ", "_")
    return ProblemDetail(title=title, status=error.status_code, detail=str(error.detail), code=code)


_NOWHERE = {
    404: "There is nothing at this address. /docs lists what there is.",
    405: "This address does not take requests of this kind. /docs lists what it takes.",
}

_CODES = {
    "missing": IssueCode.MISSING_FIELD,
    "extra_forbidden": IssueCode.UNKNOWN_FIELD,
    "string_too_long": IssueCode.TOO_LONG,
    "too_long": IssueCode.TOO_LONG,
    "string_too_short": IssueCode.TOO_SHORT,
    "too_short": IssueCode.TOO_SHORT,
    "enum": IssueCode.UNKNOWN_VALUE,
    "literal_error": IssueCode.UNKNOWN_VALUE,
    "json_invalid": IssueCode.MALFORMED,
    "finite_number": IssueCode.NOT_FINITE,
    "value_error": IssueCode.MALFORMED,
}


_EXPECTED = {
    "missing": "a value",
    "extra_forbidden": "no field of this name",
    "uuid_parsing": "a UUID",
    "uuid_type": "a UUID",
    "timezone_aware": "a time with its zone, such as 2026-11-01T12:00:00Z",
}
_NO_OBJECT = ("model_attributes_type", "model_type", "dict_type")


def _is_no_json(request: Request, error: RequestValidationError) -> bool:
    """Whether the body was not looked into at all, since it does not say that it is JSON."""
    is_whole_body = any(
        each["type"] in _NO_OBJECT and tuple(each["loc"]) == ("body",) for each in error.errors()
    )
    return is_whole_body and not re.search(r"[/+]json\b", request.headers.get("content-type", ""))


def _from_validation(request: Request, error: RequestValidationError) -> ProblemDetail:
    if _is_no_json(request, error):
        return NotJson("Send a JSON object, with `Content-Type: application/json`.").as_detail()
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        reason = found[0].get("ctx", {}).get("error", "it does not parse")
        return ProblemDetail(
            title="Malformed request", status=400, code="malformed", detail=f"The body is not JSON: {reason}."
        )
    issues = [_issue(each) for each in found]
    named = ", ".join(dict.fromkeys(each.field for each in issues if each.field)) or "the request"
    return ProblemDetail(
        title="Invalid request",
        status=422,
        code="invalid_request",
        detail=f"Please mend {named}.",
        errors=issues,
    )


def _issue(found: dict[str, Any]) -> Issue:
    """Without what was sent: it may be a secret under a misspelt name. Rows and inputs have problems of their own."""
    source, *path = found["loc"]
    kind = found["type"]
    code = _CODES.get(kind)
    if code is None:
        is_range = kind.startswith(("greater_than", "less_than"))
        code = IssueCode.OUT_OF_RANGE if is_range else IssueCode.WRONG_TYPE
    # Left out: pydantic's tags for the members of a union, such as `str-enum[Action]`, and places in lists.
    names = [each for each in path if isinstance(each, str) and "[" not in each]
    field = names[-1] if names else None
    return Issue(
        pointer=pointer_to(*path) if source == "body" else f"{source}:{'.'.join(map(str, path))}",
        field=field,
        code=code,
        expected=_EXPECTED.get(kind) or found["msg"].removeprefix("Value error, "),
    )
