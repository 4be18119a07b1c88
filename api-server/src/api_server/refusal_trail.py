"""Writes refused access into the audit log: who was not let in, or asked for what is not theirs to see."""

import asyncio
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_server.audit_trail import REFUSED, Deed, Who, record
from api_server.auth.actor import Actor
from api_server.auth.errors import LoginsThrottled
from api_server.database import Sessions, transaction
from api_server.refusal_book import RefusalBook
from platform_kit.plumbing.problems import Problem

STATUSES = (401, 403, 404, 429)
SUMMARY_SECONDS = 5.0
"""How often the book is looked through for minutes that are over."""

UNWRITTEN = Counter("mlp_audit_refusals_unwritten_total", "Refused accesses that could not be written down")
log = structlog.get_logger(__name__)


class RefusalTrail:
    """Before a refusal is sent it is written, in a transaction of its own: that of the request was rolled back.

    A database that is away keeps nobody waiting for long, and the refusal stands; it is counted and logged instead.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_when_written(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in STATUSES:
                await _note(scope)
            await send(message)

        await self._app(scope, receive, send_when_written if scope["type"] == "http" else send)


async def keep(book: RefusalBook, sessions: Sessions) -> None:
    """Write what was only counted, when its minute is over; until cancelled, and then the rest."""
    try:
        while True:
            await asyncio.sleep(SUMMARY_SECONDS)
            await _write(sessions, list(book.summaries()))
    finally:
        await _write(sessions, list(book.summaries(all_of_them=True)))


async def _note(scope: Scope) -> None:
    state: dict[str, Any] = scope.get("state", {})
    problem, actor = state.get("problem"), state.get("actor")
    if "action" not in state or not isinstance(problem, Problem) or not _is_refusal(problem, actor):
        return
    who, deed = _who(scope, state, actor), _deed(scope, state["action"], problem)
    if state["refusals"].admits(who, deed):
        await _write(state["sessions"], [(who, deed)])


def _is_refusal(problem: Problem, actor: Actor | None) -> bool:
    match problem.status:
        case 404:
            return actor is not None
        case 429:
            return isinstance(problem, LoginsThrottled)
    return True


async def _write(sessions: Sessions, refusals: list[tuple[Who, Deed]]) -> None:
    if not refusals:
        return
    try:
        async with transaction(sessions) as session:
            for who, deed in refusals:
                record(session, who, deed)
    except Exception as error:  # the refusal stands, whatever keeps it from being written
        UNWRITTEN.inc(len(refusals))
        log.warning("audit.refusals_unwritten", count=len(refusals), error=repr(error))


def _deed(scope: Scope, action: str, problem: Problem) -> Deed:
    about = getattr(problem, "about", None)
    named = {"user_id": str(about)} if about else {k: str(v) for k, v in scope.get("path_params", {}).items()}
    name, value = next(iter(named.items()), (None, None))
    return Deed(
        action=action,
        object_type=name.removesuffix("_id")[:30] if name else None,
        object_id=value[:200] if value else None,
        project_id=_uuid(scope.get("path_params", {}).get("project_id")),
        outcome=REFUSED,
        status=problem.status,
        code=problem.code,
        details={"method": scope["method"], "path": scope["path"][:300].replace("\0", "")},
    )


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None


def _who(scope: Scope, state: dict[str, Any], actor: Actor | None) -> Who:
    if actor is not None:
        return actor.who
    client = scope.get("client")
    return Who(address=client[0] if client else None, request_id=state.get("request_id"))
