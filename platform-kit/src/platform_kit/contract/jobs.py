"""Jobs: what api-server hands to a worker, and what the worker reports back.

The Celery message holds nothing but a job's id; everything else travels over the internal HTTP API.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import Field

from platform_kit.contract.artifact import Manifest, ManifestRef, Task
from platform_kit.contract.base import Message, Readable
from platform_kit.contract.problem import ProblemDetail
from platform_kit.contract.schema import Column, DatasetStatistics, FileType

RUN_JOB = "platform.run_job"
"""Name of the only Celery task of a job; its only argument is the id of the job for which the doorbell was rung.

Whoever hears it claims the job whose turn it is in that queue, which need not be this one.
"""


class JobKind(StrEnum):
    TRAIN = "train"
    PROFILE = "profile"
    BATCH_PREDICT = "batch_predict"
    REPRODUCE = "reproduce"
    HOUSEKEEPING = "housekeeping"


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)


LIVE = (JobStatus.QUEUED, JobStatus.RUNNING)


class Queue(StrEnum):
    ML = "ml"
    DATA = "data"
    GENERAL = "general"


QUEUE_OF: dict[JobKind, Queue] = {
    JobKind.TRAIN: Queue.ML,
    JobKind.REPRODUCE: Queue.ML,
    JobKind.PROFILE: Queue.DATA,
    JobKind.BATCH_PREDICT: Queue.DATA,
    JobKind.HOUSEKEEPING: Queue.GENERAL,
}


def job_problem(code: str, detail: str) -> ProblemDetail:
    """Why a job, or an attempt at it, ended: a cause of the platform's own and not of the data."""
    return ProblemDetail(title="Job failed", status=500, code=code, detail=detail)


LOWEST_PRIORITY, USUAL_PRIORITY, HIGHEST_PRIORITY = 0, 5, 9


class DatasetRef(Readable):
    """Where a dataset version's bytes are, and what they must hash to."""

    dataset_id: UUID
    version: int
    key: str
    sha256: str
    size_bytes: int
    file_type: FileType
    columns: list[Column] | None = Field(default=None, description="known once the version is profiled")


class TrainSpec(Readable):
    kind: Literal[JobKind.TRAIN] = JobKind.TRAIN
    model_id: UUID
    dataset: DatasetRef
    task: Task
    framework: str
    algorithm: str
    parameters: dict[str, Any]
    target: str
    seed: int = 0
    test_fraction: float = 0.2
    preprocessing: dict[str, Any] = Field(default_factory=dict)


class ProfileSpec(Readable):
    kind: Literal[JobKind.PROFILE] = JobKind.PROFILE
    dataset: DatasetRef


class HousekeepingSpec(Readable):
    kind: Literal[JobKind.HOUSEKEEPING] = JobKind.HOUSEKEEPING
    chore: str


JobSpec: TypeAlias = Annotated[TrainSpec | ProfileSpec | HousekeepingSpec, Field(discriminator="kind")]


class ClaimRequest(Message):
    """Asks for the job whose turn it is in a queue; the answer to one that was lost is had by asking again."""

    worker: str = Field(
        description="names this claim, in the worker's words: the same name gets the same job again",
        max_length=200,
    )


class Claim(Readable):
    """A job and the right to run it, until the lease ends without a heartbeat."""

    job_id: UUID
    attempt: int
    max_attempts: int
    lease_seconds: float
    heartbeat_seconds: float
    time_limit_seconds: float
    memory_limit_bytes: int | None
    spec: JobSpec


class Progress(Readable):
    percent: float = Field(ge=0, le=100)
    stage: str = Field(max_length=100)
    eta_seconds: float | None = None


class LogLine(Readable):
    at: datetime
    level: str = "info"
    message: str = Field(max_length=4000)


class Heartbeat(Message):
    worker: str
    attempt: int
    progress: list[Progress] = Field(
        default_factory=list, description="oldest first, since the last heartbeat"
    )
    logs: list[LogLine] = Field(default_factory=list)


class HeartbeatReply(Readable):
    cancel_requested: bool
    lease_seconds: float


class Outcome(StrEnum):
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The job itself is at fault (bad data, out of its limits): it is not tried again."""
    INTERRUPTED = "interrupted"
    """The attempt is at fault (the child was killed, storage was away): another attempt follows, if any is left."""
    CANCELLED = "cancelled"
    RELEASED = "released"
    """The worker is going away: the job returns to its queue at once and the attempt does not count."""


class TrainResult(Readable):
    kind: Literal[JobKind.TRAIN] = JobKind.TRAIN
    manifest: Manifest
    manifest_ref: ManifestRef


class ProfileResult(Readable):
    kind: Literal[JobKind.PROFILE] = JobKind.PROFILE
    columns: list[Column]
    statistics: DatasetStatistics
    preview: list[dict[str, Any]] = Field(default_factory=list, description="the first rows, as JSON values")


class HousekeepingResult(Readable):
    kind: Literal[JobKind.HOUSEKEEPING] = JobKind.HOUSEKEEPING
    counts: dict[str, int] = Field(description="what was done, and how often")


JobResult: TypeAlias = Annotated[
    TrainResult | ProfileResult | HousekeepingResult, Field(discriminator="kind")
]


class Finish(Message):
    worker: str
    attempt: int
    outcome: Outcome
    error: ProblemDetail | None = None
    result: JobResult | None = None
    progress: list[Progress] = Field(default_factory=list)
    logs: list[LogLine] = Field(default_factory=list)
