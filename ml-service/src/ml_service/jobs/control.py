"""The worker's side of the internal jobs API. Synchronous: Celery's threads call it."""

import random
import time
from typing import Self
from uuid import UUID

import httpx2
import structlog
from pydantic import BaseModel

from ml_service.settings import Settings
from platform_kit.contract.jobs import Claim, ClaimRequest, Finish, Heartbeat, HeartbeatReply

LONGEST_PAUSE_SECONDS = 5.0

log = structlog.get_logger(__name__)


class NothingToDo(Exception):
    """The doorbell was a repeat, or the job is over or taken."""


class Fenced(Exception):
    """Another attempt is the current one: stop, and write nothing."""


class Refused(Exception):
    """api-server has read this and will not have it, however often it is sent."""


class ControlUnavailable(Exception):
    """api-server does not answer; trying again may help."""


class JobControl:
    def __init__(self, http: httpx2.Client, worker: str) -> None:
        self._http, self.worker = http, worker

    @classmethod
    def from_settings(cls, settings: Settings, worker: str) -> Self:
        http = httpx2.Client(
            base_url=settings.api_internal_url,
            headers={"X-Internal-Token": settings.internal_token.get_secret_value()},
            timeout=httpx2.Timeout(10, connect=2),
        )
        return cls(http, worker)

    def close(self) -> None:
        self._http.close()

    def claim(self, job_id: UUID, *, patience_seconds: float) -> Claim:
        """Raises NothingToDo, ControlUnavailable."""
        answer = self._insist(job_id, "claim", ClaimRequest(worker=self.worker), patience_seconds)
        if answer.status_code in (404, 409):
            raise NothingToDo
        return Claim.model_validate_json(answer.content)

    def heartbeat(self, job_id: UUID, beat: Heartbeat) -> HeartbeatReply:
        """Raises Fenced, ControlUnavailable."""
        answer = self._post(job_id, "heartbeat", beat)
        if answer.status_code in (404, 409):
            raise Fenced
        return HeartbeatReply.model_validate_json(answer.content)

    def finish(self, job_id: UUID, end: Finish, *, patience_seconds: float) -> None:
        """Hand in the end of an attempt, trying until it is taken or the patience is used up.

        Raises Fenced, Refused, ControlUnavailable.
        """
        if self._insist(job_id, "finish", end, patience_seconds).status_code in (404, 409):
            raise Fenced

    def _insist(self, job_id: UUID, action: str, body: BaseModel, patience_seconds: float) -> httpx2.Response:
        deadline = time.monotonic() + patience_seconds
        pause = 0.2
        while True:
            try:
                return self._post(job_id, action, body)
            except ControlUnavailable:
                if time.monotonic() + pause > deadline:
                    raise
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311  # spreads retries, hides nothing
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _post(self, job_id: UUID, action: str, body: BaseModel) -> httpx2.Response:
        try:
            answer = self._http.post(
                f"/internal/jobs/{job_id}/{action}",
                content=body.model_dump_json(),
                headers={"Content-Type": "application/json"},
            )
        except httpx2.TransportError as error:
            raise ControlUnavailable(str(error)) from error
        if answer.status_code in (200, 404, 409):
            return answer
        if answer.status_code == 422:
            raise Refused(answer.text[:500])
        if answer.status_code < 500:
            log.error("control.refused", action=action, status=answer.status_code, body=answer.text[:500])
        raise ControlUnavailable(f"{action} was answered {answer.status_code}")
