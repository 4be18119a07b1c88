"""One attempt at one job: fetch, run the child, store what it made, hand in how it ended."""

import hashlib
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog
from pydantic import TypeAdapter

from ml_service.jobs.child_process import ChildProcess
from ml_service.jobs.control import Fenced, JobControl
from ml_service.jobs.ending import End, Ending
from ml_service.jobs.heart import Heart, News
from ml_service.jobs.notices import JobNotices
from ml_service.jobs.transfers import FETCHED_PERCENT, Transfers
from ml_service.jobs.watch import TICK_SECONDS, Interrupted, Watch
from ml_service.settings import Settings
from platform_kit.contract.artifact import Manifest, ManifestRef, canonical_json, object_key
from platform_kit.contract.jobs import (
    Claim,
    HousekeepingSpec,
    JobKind,
    JobResult,
    Outcome,
    ProfileSpec,
    Progress,
    TrainResult,
    TrainSpec,
    job_problem,
)
from platform_kit.contract.problem import ProblemDetail
from platform_kit.plumbing.object_store import ObjectStore

MADE_PERCENT = 95.0
"""The child's own 0 to 100 % come after fetching and before uploading."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Workshop:
    """What all attempts of a worker process share."""

    settings: Settings
    control: JobControl
    store: ObjectStore
    notices: JobNotices
    stopping: threading.Event
    """Set when the worker is going away; a job is then handed back at once."""
    memory_limit_bytes: int | None = None
    """What this worker can give; a job's own limit may be lower."""


class Attempt:
    def __init__(self, claim: Claim, worker: str, workshop: Workshop) -> None:
        settings, control = workshop.settings, workshop.control
        self._claim, self._worker, self._workshop = claim, worker, workshop
        self._news = News()
        self._heart = Heart(control, claim, worker, self._news)
        self._watch = Watch(self._heart, workshop.stopping, time_limit_seconds=claim.time_limit_seconds)
        self._transfers = Transfers(
            workshop.store, self._watch, self._news, patience_seconds=settings.storage_patience_seconds
        )
        self._ending = Ending(control, claim, worker, heart=self._heart, news=self._news)
        self._folder = settings.worker_scratch_dir.resolve() / f"{claim.job_id}-{claim.attempt}"
        limits = (claim.memory_limit_bytes, workshop.memory_limit_bytes)
        self._memory_limit_bytes = min((each for each in limits if each), default=None)

    def run(self) -> Outcome | None:
        """None: fenced, or nobody took how it ended."""
        claim, shop = self._claim, self._workshop
        self._news.log(f"Attempt {claim.attempt} of {claim.max_attempts} started on {self._worker}.")
        self._heart.start()
        try:
            with shop.notices.hearing(claim.job_id, self._heart.wake):
                end = self._work_to_its_end()
                if end is None:
                    return None
                patience = shop.settings.finish_patience_seconds
                return self._ending.hand_in(end, patience_seconds=patience, stopping=shop.stopping)
        finally:
            self._heart.close()

    def _work_to_its_end(self) -> End | None:
        """None: fenced, there is nothing to hand in."""
        try:
            return End(Outcome.SUCCEEDED, result=self._work())
        except Interrupted as interruption:
            self._tell_of(interruption)
            return End(interruption.outcome, error=interruption.error)
        except Fenced:
            return None
        except Exception as error:  # the edge of the worker: whatever it is, the job must not be left hanging
            log.exception("job.attempt_failed")
            detail = f"The worker failed: {error!r}"[:500]
            return End(Outcome.INTERRUPTED, error=job_problem("worker_failed", detail))
        finally:
            _remove(self._folder)

    def _tell_of(self, interruption: Interrupted) -> None:
        match interruption.outcome:
            case Outcome.CANCELLED:
                self._news.log("Cancelled.")
            case Outcome.RELEASED:
                self._news.log("The worker is going away and hands the job back.")
            case _ if interruption.error is not None:
                self._news.log(interruption.error.detail or interruption.error.title, "error")

    def _work(self) -> JobResult:
        spec = self._claim.spec
        if isinstance(spec, HousekeepingSpec):
            detail = "Housekeeping does not run on this worker."
            raise Interrupted(Outcome.FAILED, job_problem("wrong_queue", detail))
        output = self._folder / "output"
        output.mkdir(parents=True)
        path = self._folder / f"dataset.{spec.dataset.file_type}"
        self._transfers.fetch(spec.dataset, path)
        self._news.progress(FETCHED_PERCENT, "starting")
        body = self._run_child(spec, path, output)
        if spec.kind is JobKind.TRAIN:
            return self._store_version(Manifest.model_validate(body["manifest"]), output)
        return TypeAdapter[JobResult](JobResult).validate_python(body)

    def _run_child(self, spec: TrainSpec | ProfileSpec, path: Path, output: Path) -> dict[str, Any]:
        settings = self._workshop.settings
        child = ChildProcess(
            {
                "job": spec.model_dump(mode="json"),
                "dataset_path": str(path),
                "output_dir": str(output),
            },
            threads=settings.training_threads,
            memory_limit_bytes=self._memory_limit_bytes,
            folder=self._folder,
        )
        try:
            last = self._follow(child)
        finally:
            child.kill(grace_seconds=settings.kill_grace_seconds)
            child.close()
        if last is None:
            raise Interrupted(Outcome.INTERRUPTED, _crashed(child))
        if last["type"] == "error":
            raise Interrupted(Outcome.FAILED, ProblemDetail.model_validate(last["problem"]))
        return {name: value for name, value in last.items() if name != "type"}

    def _follow(self, child: ChildProcess) -> dict[str, Any] | None:
        """Read the child's messages until its last word."""
        while True:
            message = child.next_message(TICK_SECONDS)
            if message is None or message.get("type") in ("result", "error"):
                return message
            self._note(message)
            self._watch.check()
            if child.is_over_memory():
                limit = f"{(self._memory_limit_bytes or 0) / 2**20:.0f}"
                detail = f"The job needs more than {limit} MiB."
                raise Interrupted(Outcome.FAILED, job_problem("out_of_memory", detail))

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("type") == "log":
            self._news.log(str(message.get("message", "")), str(message.get("level", "info")))
        elif message.get("type") == "progress" and message.get("stage") != "done":
            step = Progress.model_validate(message)
            share = (MADE_PERCENT - FETCHED_PERCENT) / 100
            self._news.progress(FETCHED_PERCENT + step.percent * share, step.stage, step.eta_seconds)

    def _store_version(self, manifest: Manifest, output: Path) -> TrainResult:
        """Store the files under what they hash to, then the manifest. Doing it twice changes nothing."""
        self._news.progress(MADE_PERCENT, "uploading the model")
        for file in manifest.files:
            self._transfers.put(file.key, output / file.name)
        raw = canonical_json(manifest.model_dump(mode="json"))
        path = output / "manifest.json"
        path.write_bytes(raw)
        sha256 = hashlib.sha256(raw).hexdigest()
        self._transfers.put(object_key(sha256), path)
        ref = ManifestRef(key=object_key(sha256), sha256=sha256, digest=manifest.digest())
        return TrainResult(manifest=manifest, manifest_ref=ref)


def _crashed(child: ChildProcess) -> ProblemDetail:
    if child.was_killed_by_kernel():
        # Another attempt may fit: what had filled the memory need not be this job.
        detail = "The machine ran out of memory, and the training process was ended."
        return job_problem("out_of_memory", detail)
    code = child.wait()
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return job_problem("child_crashed", f"The training process ended {how} before it had a result.")


def _remove(folder: Path) -> None:
    """Under another name first: a transfer that was given up finds no place to put a new file."""
    try:
        gone = folder.rename(folder.with_name(f".gone-{uuid4().hex}"))
    except FileNotFoundError:
        return
    except OSError:
        log.exception("job.folder_left", folder=str(folder))
        return
    shutil.rmtree(gone, ignore_errors=True)
