"""The disposable process in which a dataset is profiled or a model is trained: `python -m ml_service.child`.

It has no credentials and speaks to its parent alone, one JSON object a line:

stdin, one line: {"job": TrainSpec or ProfileSpec, "dataset_path": "...", "output_dir": "..."}
stdout, any number: {"type": "progress", "percent": 12.5, "stage": "...", "eta_seconds": 3.0}
                    {"type": "log", "level": "info" | "warning", "message": "..."}
stdout, last, one of: {"type": "result", "kind": "profile", ...the other fields of ProfileResult}
                      {"type": "result", "kind": "train", "manifest": Manifest}; its files are in output_dir
                      {"type": "error", "problem": ProblemDetail}

It ends with 0 after a result or an error: the job is judged. Anything else is a crash of this attempt.
PARENT_PID names the process it must not outlive. TRAINING_THREADS limits what a fit may use; by default that
is every processor that this process may run on.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from platform_kit.contract.jobs import ProfileSpec, TrainSpec

_OUT_OF_MEMORY = {
    "title": "Out of memory",
    "status": 422,
    "code": "out_of_memory",
    "detail": "The job needs more memory than it may use. Try fewer rows or columns, or a smaller model.",
}
_PR_SET_PDEATHSIG = 1
_BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Parent:
    """The line to the parent process; nothing else may write to it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    @classmethod
    def on_stdout(cls) -> "Parent":
        """Keep stdout for the protocol, and send what libraries print there to stderr."""
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
        return cls(os.fdopen(kept, "wb"))

    def progress(self, percent: float, stage: str, eta_seconds: float | None = None) -> None:
        self.tell("progress", {"percent": round(percent, 2), "stage": stage, "eta_seconds": eta_seconds})

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        line = json.dumps({"type": kind, **body}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self._stream.write(line.encode() + b"\n")
        self._stream.flush()


def _end_with_parent() -> None:
    """A worker that is killed leaves no training behind. Without PARENT_PID there is nobody to end with."""
    parent = os.environ.get("PARENT_PID")
    if parent is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        raise SystemExit("the worker is gone")


def main() -> int:
    _end_with_parent()
    parent = Parent.on_stdout()
    threads = int(os.environ.get("TRAINING_THREADS") or len(os.sched_getaffinity(0)))
    _set_threads(threads)
    order = json.loads(sys.stdin.buffer.readline())
    try:
        _run(order, parent, threads)
    except MemoryError:
        parent.tell("error", {"problem": _OUT_OF_MEMORY})
    return 0


def _set_threads(threads: int) -> None:
    """Idle threads must sleep: beside busy processes, spinning ones made small fits 20 times slower.

    Linear algebra gets one thread: the matrices here are too small to gain from more, and it cannot sleep.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for name in _BLAS_VARIABLES:
        os.environ[name] = "1"


def _run(order: dict[str, Any], parent: Parent, threads: int) -> None:
    """Libraries are imported below this line only: they read the number of threads when they are loaded."""
    from pydantic import TypeAdapter

    from ml_service.tables.problems import JobProblem
    from platform_kit.contract.jobs import ProfileSpec, TrainSpec

    spec = TypeAdapter[TrainSpec | ProfileSpec](TrainSpec | ProfileSpec).validate_python(order["job"])
    path = Path(order["dataset_path"])
    try:
        match spec:
            case ProfileSpec():
                _profile(spec, path, parent)
            case TrainSpec():
                _train(spec, path, Path(order["output_dir"]), parent=parent, threads=threads)
    except JobProblem as refusal:
        parent.tell("error", {"problem": refusal.problem.model_dump(mode="json")})


def _profile(spec: "ProfileSpec", path: Path, parent: Parent) -> None:
    from ml_service.profiling.profile import profile
    from ml_service.tables.reading import read

    parent.progress(0, "reading")
    table = read(path, spec.dataset.file_type)
    parent.progress(50, "profiling")
    result = profile(table)
    parent.progress(100, "done")
    parent.tell("result", result.model_dump(mode="json"))


def _train(spec: "TrainSpec", path: Path, output: Path, *, parent: Parent, threads: int) -> None:
    from ml_service.artifacts.model_files import write
    from ml_service.tables.reading import read
    from ml_service.training.manifest import manifest_of
    from ml_service.training.trainer import train
    from platform_kit.contract.algorithms import Framework
    from platform_kit.contract.jobs import Progress

    def report(progress: Progress) -> None:
        parent.progress(progress.percent, progress.stage, progress.eta_seconds)

    parent.progress(0, "reading")
    table = read(path, spec.dataset.file_type, columns=spec.dataset.columns)
    model = train(table, spec, report, threads=threads)
    for sentence in model.warnings:
        parent.tell("log", {"level": "warning", "message": sentence[:4000]})
    parent.progress(95, "writing")
    manifest = manifest_of(model, spec, files=write(model.estimator, Framework(spec.framework), output))
    parent.progress(100, "done")
    parent.tell("result", {"kind": "train", "manifest": manifest.model_dump(mode="json")})


if __name__ == "__main__":
    raise SystemExit(main())
