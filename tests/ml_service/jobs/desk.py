"""What the tests of jobs share: a peer that plays api-server's jobs, work to offer, a look at what is left."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import redis

from platform_kit.contract.access import Notice, NoticeKind
from platform_kit.contract.artifact import Task
from platform_kit.contract.jobs import Claim, DatasetRef, ProfileSpec, TrainSpec
from platform_kit.contract.schema import FileType
from platform_kit.plumbing.notices import FIELD, STREAM
from platform_kit.plumbing.object_store import ObjectStore
from tests.ml_service.peer import Peer

JOB = UUID(int=42)
QUEUE = "ml"


class Desk:
    """What api-server's jobs do, as far as one job needs it."""

    def __init__(self, peer: Peer, store: ObjectStore) -> None:
        self.peer, self._store = peer, store
        self.claim: Claim | None = None
        self.cancel = False
        self.fenced = False
        self.workers: list[str] = []
        self.beats: list[float] = []
        """When each heartbeat came."""
        peer.routes["/claim"] = self._claim
        peer.routes["/heartbeat"] = self._heartbeat
        peer.routes["/finish"] = lambda _: (409, {}) if self.fenced else (200, {"status": "ended"})

    def offer(self, spec: TrainSpec | ProfileSpec, **limits: Any) -> None:
        known = {
            "job_id": JOB,
            "attempt": 1,
            "max_attempts": 3,
            "lease_seconds": 5,
            "heartbeat_seconds": 0.3,
            "time_limit_seconds": 60,
            "memory_limit_bytes": None,
            "spec": spec,
        }
        self.claim = Claim.model_validate({**known, **limits})

    def dataset(self, content: bytes, *, file_type: FileType = FileType.CSV) -> DatasetRef:
        key = f"datasets/{hashlib.sha256(content).hexdigest()}"
        self._store.put_bytes(key, content)
        return DatasetRef(
            dataset_id=UUID(int=2),
            version=1,
            key=key,
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            file_type=file_type,
        )

    @property
    def ends(self) -> list[dict[str, Any]]:
        return self.peer.bodies("/finish")

    @property
    def end(self) -> dict[str, Any]:
        (end,) = self.ends
        return end

    def stages(self) -> list[str]:
        bodies = [*self.peer.bodies("/heartbeat"), *self.ends]
        return [step["stage"] for body in bodies for step in body["progress"]]

    def logs(self) -> list[str]:
        bodies = [*self.peer.bodies("/heartbeat"), *self.ends]
        return [line["message"] for body in bodies for line in body["logs"]]

    def percents(self) -> list[float]:
        bodies = [*self.peer.bodies("/heartbeat"), *self.ends]
        return [step["percent"] for body in bodies for step in body["progress"]]

    def _claim(self, body: dict[str, Any]) -> tuple[int, Any]:
        self.workers.append(body["worker"])
        claim, self.claim = self.claim, None
        return (200, claim) if claim else (204, {})

    def _heartbeat(self, _: dict[str, Any]) -> tuple[int, Any]:
        self.beats.append(time.monotonic())
        return (409, {}) if self.fenced else (200, {"cancel_requested": self.cancel, "lease_seconds": 5})


def training(desk: Desk, csv: bytes, **facts: Any) -> TrainSpec:
    known = {
        "model_id": UUID(int=1),
        "dataset": desk.dataset(csv),
        "task": Task.CLASSIFICATION,
        "framework": "lightgbm",
        "algorithm": "lightgbm",
        "parameters": {"n_estimators": 20},
        "target": "bought",
        "preprocessing": {"exclude": ["level", "spent"]},
    }
    return TrainSpec.model_validate({**known, **facts})


def slow(desk: Desk, csv: bytes) -> TrainSpec:
    """A training of minutes on any machine: deep trees which hardly learn, so that none is trivial, on 40 000 rows."""
    parameters = {"n_estimators": 10_000, "max_depth": 12, "learning_rate": 0.001}
    heavy = csv + b"".join([csv.split(b"\n", 1)[1]] * 99)
    return training(desk, heavy, framework="xgboost", algorithm="xgboost", parameters=parameters)


def children() -> list[int]:
    """Processes that run the child's program or one in its place: ours, and those left to themselves."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if (b"ml_service.child" in line or b"child.py" in line) and parent in (1, os.getpid()):
                found.append(int(entry.name))
    return found


def stay(kind: str, then: str) -> str:
    """A child program that takes its order, tells of a stage and does something else than it should."""
    told = f'print(json.dumps({{"type": "progress", "percent": 10, "stage": "{kind}"}}), flush=True)'
    return f"import ctypes, json, os, signal, subprocess, sys, time\nsys.stdin.readline()\n{told}\n{then}\n"


PROFILE = {"columns": [], "statistics": {"row_count": 1, "columns": {}}, "preview": []}
MADE = f"print(json.dumps({{'type': 'result', 'kind': 'profile', **{PROFILE!r}}}), flush=True)"


def tell_of_job(cache_url: str) -> None:
    """What api-server says when a job is to be cancelled."""
    notice = Notice(kind=NoticeKind.JOB, id=JOB)
    with redis.Redis.from_url(cache_url) as client:
        client.xadd(STREAM, {FIELD: notice.model_dump_json()})


def wait_until(holds: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
