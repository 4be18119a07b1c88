"""One attempt at one job, from the claim to the end that is handed in."""

import hashlib
import queue
import random
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import structlog
from pydantic import TypeAdapter

from ml_service.jobs.child_process import LONGEST_LOG_LINE, ChildProcess
from ml_service.jobs.control import ControlUnavailable, Fenced, JobControl, NothingToDo, Refused
from ml_service.settings import Settings
from platform_kit.contract.artifact import Manifest, ManifestRef, canonical_json, object_key
from platform_kit.contract.jobs import (
    Claim,
    Finish,
    Heartbeat,
    HousekeepingSpec,
    JobKind,
    JobResult,
    LogLine,
    Outcome,
    Progress,
    TrainResult,
)
from platform_kit.contract.problem import ProblemDetail
from platform_kit.plumbing.object_store import DigestMismatch, ObjectMissing, ObjectStore, StorageUnavailable

LIVE_SECONDS = 0.3
"""Progress is passed on at most this often."""
TICK_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
"""Between two attempts at the storage."""

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class Interrupted(Exception):
    """The attempt ends here; `outcome` and `error` say how."""

    def __init__(self, outcome: Outcome, error: ProblemDetail | None = None) -> None:
        super().__init__(outcome)
        self.outcome, self.error = outcome, error


@dataclass
class News:
    """What the next heartbeat will tell."""

    progress: list[Progress] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)

    def note(self, message: dict[str, Any]) -> None:
        if message.get("type") == "progress":
            self.progress.append(Progress.model_validate(message))
        elif message.get("type") == "log":
            text = str(message.get("message", ""))[:LONGEST_LOG_LINE]
            self.logs.append(
                LogLine(at=datetime.now(UTC), level=str(message.get("level", "info")), message=text)
            )

    def take(self) -> tuple[list[Progress], list[LogLine]]:
        taken = (self.progress, self.logs)
        self.progress, self.logs = [], []
        return taken

    def put_back(self, progress: list[Progress], logs: list[LogLine]) -> None:
        """The latest progress is enough; every log line counts."""
        self.progress = progress[-1:] + self.progress
        self.logs = logs + self.logs


class JobRunner:
    """stopping: set when the worker is going away; the job is then handed back at once."""

    def __init__(
        self, settings: Settings, control: JobControl, store: ObjectStore, *, stopping: threading.Event
    ) -> None:
        self._settings, self._control, self._store, self._stopping = settings, control, store, stopping

    def run(self, job_id: UUID) -> None:
        """Run a job if it is there to be claimed; returns when its attempt is over."""
        try:
            claim = self._control.claim(job_id, patience_seconds=self._settings.claim_patience_seconds)
        except (NothingToDo, Refused, ControlUnavailable) as reason:
            log.info("job.not_claimed", job_id=str(job_id), reason=type(reason).__name__)
            return
        with structlog.contextvars.bound_contextvars(job_id=str(job_id), attempt=claim.attempt):
            log.info("job.claimed", kind=claim.spec.kind)
            started = time.monotonic()
            outcome = _Attempt(claim, self._settings, self._control, self._store, self._stopping).run()
            log.info("job.finished", outcome=outcome, seconds=round(time.monotonic() - started, 3))


class _Attempt:
    def __init__(
        self,
        claim: Claim,
        settings: Settings,
        control: JobControl,
        store: ObjectStore,
        stopping: threading.Event,
    ) -> None:
        self._claim, self._settings, self._control = claim, settings, control
        self._store, self._stopping = store, stopping
        self._news = News()
        self._folder = settings.worker_scratch_dir.resolve() / f"{claim.job_id}-{claim.attempt}"
        self._next_beat = 0.0

    def run(self) -> Outcome | None:
        """None: fenced, nothing was handed in."""
        try:
            result = self._work()
            end = self._end(Outcome.SUCCEEDED, result=result)
        except Interrupted as interruption:
            end = self._end(interruption.outcome, error=interruption.error)
        except Fenced:
            return None
        except Exception as error:  # the edge of the worker: whatever it is, the job must not be left hanging
            log.exception("job.attempt_failed")
            end = self._end(
                Outcome.INTERRUPTED, error=_problem("worker_failed", f"The worker failed: {error!r}"[:500])
            )
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        return self._hand_in(end)

    def _hand_in(self, end: Finish) -> Outcome | None:
        """None: it was not taken; the lease runs out by itself, or another attempt has the job."""
        try:
            self._control.finish(self._claim.job_id, end, patience_seconds=self._patience(end.outcome))
        except Refused as refusal:
            if end.outcome is Outcome.FAILED:
                log.error("job.end_refused", detail=str(refusal))
                return None
            detail = f"api-server did not accept the result: {refusal}"
            return self._hand_in(self._end(Outcome.FAILED, error=_problem("result_refused", detail)))
        except (Fenced, ControlUnavailable) as reason:
            log.warning("job.end_not_taken", reason=type(reason).__name__)
            return None
        return end.outcome

    def _patience(self, outcome: Outcome) -> float:
        """A worker that is going away does not wait: the lease runs out by itself."""
        return 1.0 if outcome is Outcome.RELEASED else self._settings.finish_patience_seconds

    def _work(self) -> JobResult:
        spec = self._claim.spec
        if isinstance(spec, HousekeepingSpec):
            raise Interrupted(
                Outcome.FAILED, _problem("wrong_queue", "Housekeeping does not run on this worker.")
            )
        output = self._folder / "output"
        output.mkdir(parents=True)
        path = self._folder / f"dataset.{spec.dataset.file_type}"
        self._fetch(spec.dataset.key, path, spec.dataset.sha256)
        body = self._run_child(path, output)
        if spec.kind is JobKind.TRAIN:
            return self._store_version(Manifest.model_validate(body["manifest"]), output)
        return TypeAdapter[JobResult](JobResult).validate_python(body)

    def _fetch(self, key: str, path: Path, sha256: str) -> None:
        try:
            self._with_retries(lambda: self._store.fetch(key, path, sha256=sha256))
        except DigestMismatch:
            detail = "The stored dataset is not the one that was uploaded; upload it again."
            raise Interrupted(Outcome.FAILED, _problem("checksum_mismatch", detail)) from None
        except ObjectMissing:
            detail = "The dataset's file is missing from object storage; upload it again."
            raise Interrupted(Outcome.FAILED, _problem("file_missing", detail)) from None

    def _run_child(self, path: Path, output: Path) -> dict[str, Any]:
        order = {
            "job": self._claim.spec.model_dump(mode="json"),
            "dataset_path": str(path),
            "output_dir": str(output),
        }
        child = ChildProcess(
            order,
            threads=self._settings.training_threads,
            memory_limit_bytes=self._claim.memory_limit_bytes,
            folder=self._folder,
        )
        try:
            last = self._follow(child)
        finally:
            child.kill(grace_seconds=self._settings.kill_grace_seconds)
            child.close()
        if last is None:
            raise Interrupted(Outcome.INTERRUPTED, _crashed(child.wait()))
        if last["type"] == "error":
            raise Interrupted(Outcome.FAILED, ProblemDetail.model_validate(last["problem"]))
        return {name: value for name, value in last.items() if name != "type"}

    def _follow(self, child: ChildProcess) -> dict[str, Any] | None:
        """Read the child's messages until its last word; keep the lease meanwhile."""
        deadline = time.monotonic() + self._claim.time_limit_seconds
        while True:
            try:
                message = child.messages.get(timeout=TICK_SECONDS)
            except queue.Empty:
                message = {"type": "nothing"}
            if message is None or message.get("type") in ("result", "error"):
                return message
            self._news.note(message)
            self._beat()
            if self._stopping.is_set():
                raise Interrupted(Outcome.RELEASED)
            if time.monotonic() > deadline:
                limit = f"{self._claim.time_limit_seconds:g}"
                raise Interrupted(Outcome.FAILED, _problem("timeout", f"The job took longer than {limit} s."))
            if child.is_over_memory():
                limit = f"{(self._claim.memory_limit_bytes or 0) / 2**20:.0f}"
                raise Interrupted(
                    Outcome.FAILED, _problem("out_of_memory", f"The job needs more than {limit} MiB.")
                )

    def _beat(self) -> None:
        """Renew the lease when it is due, and sooner when there is progress to show. Raises Fenced, Interrupted."""
        now = time.monotonic()
        if now < self._next_beat and not (
            self._news.progress and now > self._next_beat - self._claim.heartbeat_seconds + LIVE_SECONDS
        ):
            return
        self._next_beat = now + self._claim.heartbeat_seconds
        progress, logs = self._news.take()
        beat = Heartbeat(
            worker=self._control.worker, attempt=self._claim.attempt, progress=progress, logs=logs
        )
        try:
            reply = self._control.heartbeat(self._claim.job_id, beat)
        except (ControlUnavailable, Refused):
            # A long fit outlives an outage of api-server: the lease is renewed when it is back.
            self._news.put_back(progress, logs)
            return
        if reply.cancel_requested:
            raise Interrupted(Outcome.CANCELLED)

    def _store_version(self, manifest: Manifest, output: Path) -> TrainResult:
        """Store the files under what they hash to, then the manifest. Doing it twice changes nothing."""
        for file in manifest.files:
            self._with_retries(partial(self._put_once, file.key, output / file.name))
            self._beat()
        raw = canonical_json(manifest.model_dump(mode="json"))
        path = output / "manifest.json"
        path.write_bytes(raw)
        sha256 = hashlib.sha256(raw).hexdigest()
        self._with_retries(lambda: self._put_once(object_key(sha256), path))
        ref = ManifestRef(key=object_key(sha256), sha256=sha256, digest=manifest.digest())
        return TrainResult(manifest=manifest, manifest_ref=ref)

    def _put_once(self, key: str, path: Path) -> None:
        if not self._store.exists(key):
            self._store.put_file(key, path)

    def _with_retries(self, work: Callable[[], Result]) -> Result:
        """Try storage again with full jitter, keeping the lease. Raises Interrupted when it stays away."""
        patience = self._settings.storage_patience_seconds
        deadline = time.monotonic() + patience
        longest = 0.5
        while True:
            try:
                return work()
            except StorageUnavailable as error:
                log.warning("job.storage_unavailable", error=str(error)[:200])
            if time.monotonic() > deadline:
                detail = f"Object storage did not answer within {patience:g} s. Start it, then train again."
                raise Interrupted(Outcome.INTERRUPTED, _problem("storage_unavailable", detail))
            self._pause(random.uniform(0, longest))  # noqa: S311  # spreads retries, hides nothing
            longest = min(LONGEST_PAUSE_SECONDS, longest * 2)

    def _pause(self, seconds: float) -> None:
        """Raises Interrupted when the worker is told to end, or the job to stop."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._beat()
            if self._stopping.wait(TICK_SECONDS):
                raise Interrupted(Outcome.RELEASED)

    def _end(
        self, outcome: Outcome, *, result: JobResult | None = None, error: ProblemDetail | None = None
    ) -> Finish:
        progress, logs = self._news.take()
        return Finish(
            worker=self._control.worker,
            attempt=self._claim.attempt,
            outcome=outcome,
            result=result,
            error=error,
            progress=progress,
            logs=logs,
        )


def _crashed(code: int) -> ProblemDetail:
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return _problem("child_crashed", f"The training process ended {how} before it had a result.")


def _problem(code: str, detail: str) -> ProblemDetail:
    return ProblemDetail(title="Job failed", status=500, code=code, detail=detail)
