"""Tells api-server, for its audit log, whom this service refused: in the background, and within bounds."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from starlette.requests import Request

from ml_service.serving import metrics
from ml_service.serving.control_plane import ControlPlane, Unreachable
from ml_service.serving.credentials import is_shown
from platform_kit.contract.access import Principal, Refusal
from platform_kit.plumbing.problems import Problem

STATUSES = (401, 403, 404)
MOST_WAITING = 1000
MOST_WAITING_OF_ONE = 100
"""Of one caller: who asks without end hides nobody else."""
BATCH = 200
SEND_SECONDS = 1.0
FLUSH_SECONDS = 2.0
LONGEST_ID = 200


class RefusalReports:
    """They wait while api-server is away; what has no room is counted. One may be told twice."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control
        self._waiting: list[Refusal] = []
        self._of_caller: Counter[str] = Counter()

    @contextmanager
    def noting(self, request: Request, action: str, ref: str | None = None) -> Iterator[None]:
        """Note what is refused inside; that nobody may ask for a model without a credential is not worth telling."""
        try:
            yield
        except Problem as problem:
            if problem.status in STATUSES and is_shown(request.headers):
                self._add(_refusal(request, action, ref, problem))
            raise

    async def send_forever(self) -> None:
        while True:
            await asyncio.sleep(SEND_SECONDS)
            with suppress(Unreachable):
                await self.send()

    async def flush(self) -> None:
        """Before the end: what cannot be told soon is lost."""
        with suppress(Unreachable, TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self.send()
        metrics.REFUSALS_DROPPED.inc(len(self._waiting))

    async def send(self) -> None:
        """Tell all that waits. Raises Unreachable."""
        while self._waiting:
            batch = self._waiting[:BATCH]
            await self._control.report_refusals(batch)
            del self._waiting[: len(batch)]
            self._of_caller = Counter(map(_caller, self._waiting))

    def _add(self, refusal: Refusal) -> None:
        caller = _caller(refusal)
        if len(self._waiting) >= MOST_WAITING or self._of_caller[caller] >= MOST_WAITING_OF_ONE:
            metrics.REFUSALS_DROPPED.inc()
            return
        self._waiting.append(refusal)
        self._of_caller[caller] += 1


def _caller(refusal: Refusal) -> str:
    return refusal.credential or f"address:{refusal.address}"


def _refusal(request: Request, action: str, ref: str | None, problem: Problem) -> Refusal:
    principal: Principal | None = getattr(request.state, "principal", None)
    return Refusal(
        at=datetime.now(UTC),
        action=action,
        status=problem.status,
        code=problem.code,
        object_id=None if ref is None else _storable(ref),
        user_id=principal.user_id if principal else None,
        username=principal.username if principal else None,
        credential=_named(principal) if principal else None,
        address=request.client.host if request.client else None,
        request_id=getattr(request.state, "request_id", None),
    )


def _storable(ref: str) -> str:
    return ref.replace("\0", "").encode(errors="replace").decode()[:LONGEST_ID]


def _named(principal: Principal) -> str:
    return f"{'session' if principal.scopes is None else 'key'}:{principal.credential_id}"
