"""The worker's side of the internal jobs API. Synchronous: Celery's threads call it."""

import random
import time
from collections.abc import Callable
from typing import Self, TypeVar
from uuid import UUID

import httpx2
import structlog
from pydantic import BaseModel, ValidationError

from ml_service.settings import Settings
from platform_kit.contract.jobs import Claim, ClaimRequest, Finish, Heartbeat, HeartbeatReply

REFUSALS = (400, 413, 422)
TIMEOUT_SECONDS = 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class NothingToDo(Exception):
    """No job waits in this queue: the doorbell was a repeat, or another worker was quicker."""


class Fenced(Exception):
    """Another attempt is the current one: stop, and write nothing."""


class Refused(Exception):
    """api-server has read this and will not have it, however often it is sent."""


class ControlUnavailable(Exception):
    """api-server does not answer; trying again may help."""


class JobControl:
    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        http = httpx2.Client(
            base_url=settings.api_internal_url,
            headers={"X-Internal-Token": settings.internal_token.get_secret_value()},
        )
        return cls(http)

    def close(self) -> None:
        self._http.close()

    def claim(self, queue: str, worker: str) -> Claim:
        """The job whose turn it is; asked again under the same name, the same job.

        Raises NothingToDo, Refused, ControlUnavailable.
        """
        answer = self._post(f"/internal/queues/{queue}/claim", ClaimRequest(worker=worker))
        if answer.status_code != 200:
            raise NothingToDo
        try:
            return Claim.model_validate_json(answer.content)
        except ValidationError as error:
            raise Refused(f"a claim of a newer api-server that this worker cannot read: {error}") from error

    def heartbeat(self, job_id: UUID, beat: Heartbeat, *, timeout_seconds: float) -> HeartbeatReply:
        """Raises Fenced, Refused, ControlUnavailable."""
        answer = self._post(f"/internal/jobs/{job_id}/heartbeat", beat, timeout_seconds)
        if answer.status_code != 200:
            raise Fenced
        return HeartbeatReply.model_validate_json(answer.content)

    def finish(self, job_id: UUID, end: Finish) -> None:
        """Raises Fenced, Refused, ControlUnavailable."""
        if self._post(f"/internal/jobs/{job_id}/finish", end).status_code != 200:
            raise Fenced

    def _post(self, path: str, body: BaseModel, timeout_seconds: float = TIMEOUT_SECONDS) -> httpx2.Response:
        try:
            answer = self._http.post(
                path,
                content=body.model_dump_json(),
                headers={"Content-Type": "application/json"},
                timeout=httpx2.Timeout(timeout_seconds, connect=2),
            )
        except httpx2.TransportError as error:
            raise ControlUnavailable(str(error)) from error
        if answer.status_code in (200, 204, 404, 409):
            return answer
        if answer.status_code in REFUSALS:
            raise Refused(answer.text[:500])
        if answer.status_code < 500:
            log.error("control.refused", path=path, status=answer.status_code, body=answer.text[:500])
        raise ControlUnavailable(f"{path} was answered {answer.status_code}")


def insist(
    work: Callable[[], Result], *, patience_seconds: float, pause: Callable[[float], object]
) -> Result:
    """Call api-server until it answers or the patience is used up; what `pause` raises ends it as well."""
    deadline = time.monotonic() + patience_seconds
    longest = FIRST_PAUSE_SECONDS
    while True:
        try:
            return work()
        except ControlUnavailable:
            if time.monotonic() + longest > deadline:
                raise
        pause(random.uniform(longest / 2, longest))  # noqa: S311  # spreads retries, hides nothing
        longest = min(longest * 2, LONGEST_PAUSE_SECONDS)
