"""What ml-service is asked to serve, and what it reports back.

Each replica of ml-service calls `sync` about once a second: it says which generation it has applied and what it proved,
and receives the desired state when that has changed.
"""

from typing import Any
from uuid import UUID

from pydantic import Field

from platform_kit.contract.artifact import ManifestRef, Task
from platform_kit.contract.base import Message, Readable


class ServedVersion(Readable):
    """One version of one model, as a replica needs it."""

    model_id: UUID
    name: str
    endpoint: str
    project_id: UUID
    framework: str
    model_type: Task
    version: int
    manifest: ManifestRef
    deployment_id: UUID | None = Field(default=None, description="null: asked for by a pinned request only")
    config: dict[str, Any] = Field(default_factory=dict)


class ServingState(Readable):
    """active: what endpoints answer with. candidates: what waits for a replica to load it and replay its golden rows.

    Both are null when the replica already has this generation.
    """

    generation: int
    active: list[ServedVersion] | None = None
    candidates: list[ServedVersion] | None = None


class Proof(Message):
    """The verdict on a candidate: its golden rows were answered as in training, or the reason why not."""

    deployment_id: UUID
    holds: bool
    reason: str | None = Field(default=None, max_length=2000)
    is_transient: bool = Field(
        default=False, description="storage was away: the candidate should be tried again"
    )


class ReplicaReport(Message):
    replica: str = Field(max_length=200)
    applied_generation: int = Field(description="-1: none yet")
    proofs: list[Proof] = Field(default_factory=list)


class ModelLookup(Readable):
    """A model that is not in the serving state: not deployed, or asked for by version.

    version: what `?version=` asked for and exists trained; null otherwise.
    """

    model_id: UUID
    name: str
    endpoint: str
    project_id: UUID
    status: str
    version: ServedVersion | None = None
