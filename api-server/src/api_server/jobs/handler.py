"""What a kind of job brings along: how to describe the work to a worker, and what its end changes."""

from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

from api_server.auth.actor import Actor
from api_server.database import AsyncSession
from api_server.jobs.models import Job
from platform_kit.contract.jobs import JobKind, JobResult, JobSpec
from platform_kit.contract.problem import ProblemDetail


class NotReadyYet(Exception):
    """What a job is about is being made by another job, about `subject_id`; it waits for that."""

    def __init__(self, subject_id: UUID) -> None:
        super().__init__(str(subject_id))
        self.subject_id = subject_id


class JobHandler(Protocol):
    """Every method runs inside the transaction that changes the job itself."""

    async def describe(self, session: AsyncSession, job: Job) -> JobSpec | ProblemDetail:
        """Say what the worker is to do; a problem fails the job without running it. Raises NotReadyYet."""
        ...

    async def succeed(self, session: AsyncSession, job: Job, result: JobResult) -> dict[str, Any]:
        """Record the one effect of a success; what is returned becomes the job's `result`.

        Raises InvalidRequest for what cannot be recorded; the job then fails, and says why.
        """
        ...

    async def give_up(self, session: AsyncSession, job: Job, error: ProblemDetail | None) -> None:
        """Record that no attempt follows: `error` says why, None means cancelled."""
        ...

    async def prepare_again(self, session: AsyncSession, actor: Actor, job: Job) -> UUID | None:
        """Make ready what an ended job was about for a new one of this actor; returns what that has to wait for.

        Raises CannotBeDoneAgain, or another problem that says why there is nothing to do again.
        """
        ...

    async def begun_again(self, session: AsyncSession, job: Job) -> None:
        """Let what the job is about follow this new job."""
        ...


Handlers = Mapping[JobKind, JobHandler]
