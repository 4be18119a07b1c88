"""A worker that trains and profiles, with a gate on each of its two ways: to api-server and to storage."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tests.faults.gate import Exchange, Gate, Hold
from tests.faults.program import Program, descendants
from tests.proxy import Proxy

JOB_PATH = re.compile(r"/internal/jobs/([0-9a-f-]{36})/(heartbeat|finish)")
WAIT_SECONDS = 60.0


class Phase(StrEnum):
    """Where a job is, as far as one can see from outside.

    claiming: the message is taken, and the claim is under way or was just answered. before commit: the artifact is
    stored, and the end is not committed yet. after commit: it is, and the worker does not know.
    """

    IDLE = "idle"
    CLAIMING = "claiming"
    READING = "reading"
    FITTING = "fitting"
    UPLOADING = "uploading"
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"


def is_claim(exchange: Exchange) -> bool:
    return exchange.path.endswith("/claim")


def is_fruitful_claim(exchange: Exchange) -> bool:
    return is_claim(exchange) and exchange.status == 200


def is_finish(exchange: Exchange) -> bool:
    return exchange.path.endswith("/finish")


def is_success(exchange: Exchange) -> bool:
    return is_finish(exchange) and json.loads(exchange.body)["outcome"] == "succeeded"


def is_fetch(exchange: Exchange) -> bool:
    return exchange.method == "GET" and "/artifacts/" not in exchange.path


def is_upload(exchange: Exchange) -> bool:
    return exchange.method in ("PUT", "POST") and "/artifacts/" in exchange.path


class Workshop:
    """Runs one job at a time. lines: where it can be cut off; gates: where single requests can be held."""

    def __init__(self, *, api_port: int, store_port: int) -> None:
        self.api = Gate(api_port, watch=self._see_api)
        self.store = Gate(store_port, watch=self._see_store)
        self.api_line, self.store_line = Proxy(self.api.port), Proxy(self.store.port)
        self.phase, self.job_id = Phase.IDLE, ""
        self.stages: list[str] = []
        """What the child of the current job has reported."""
        self.fenced: set[str] = set()
        """Jobs of which a message was refused: another attempt has them, or they are over."""
        self._program: Program | None = None

    @property
    def program(self) -> Program:
        assert self._program is not None
        return self._program

    @program.setter
    def program(self, program: Program) -> None:
        self._program = program

    def close(self) -> None:
        for each in (self.api_line, self.store_line, self.api, self.store):
            each.close()

    def children(self) -> list[int]:
        """The training child, and what it started."""
        pid = self.program.pid
        return descendants(pid) if pid is not None else []

    def mend(self) -> None:
        for line in (self.api_line, self.store_line):
            line.passing()
        for gate in (self.api, self.store):
            gate.release_all()

    def hold(self, phase: Phase, *, answered: bool = False) -> Hold:
        """Stop the next job that comes to this phase, in it. answered: its claim was, but the worker does not know."""
        match phase:
            case Phase.CLAIMING if answered:
                return self.api.hold(is_fruitful_claim, moment="answered")
            case Phase.CLAIMING:
                return self.api.hold(is_claim)
            case Phase.READING:
                return self.store.hold(is_fetch)
            case Phase.UPLOADING:
                return self.store.hold(is_upload)
            case Phase.BEFORE_COMMIT:
                return self.api.hold(is_success)
            case Phase.AFTER_COMMIT:
                return self.api.hold(is_success, moment="answered")
        raise ValueError(phase)

    def _see_api(self, exchange: Exchange) -> None:
        if is_claim(exchange):
            self._see_claim(exchange)
        elif (found := JOB_PATH.search(exchange.path)) is None:
            return
        elif exchange.status == 409:
            self.fenced.add(found[1])
            self.phase = Phase.IDLE
        elif found[2] == "finish":
            self._see_finish(exchange, job_id=found[1])
        elif exchange.status is None:
            self.job_id = found[1]
            self._see_progress(json.loads(exchange.body)["progress"])

    def _see_claim(self, exchange: Exchange) -> None:
        if exchange.is_over:
            return
        self.phase, self.stages = Phase.CLAIMING, []
        if exchange.status == 204:
            self.phase = Phase.IDLE
        elif exchange.status == 200:
            self.job_id = json.loads(exchange.answer)["job_id"]

    def _see_finish(self, exchange: Exchange, *, job_id: str) -> None:
        self.job_id = job_id
        if exchange.status is None:
            self.phase = Phase.BEFORE_COMMIT
        else:
            self.phase = Phase.IDLE if exchange.is_over else Phase.AFTER_COMMIT

    def _see_progress(self, progress: list[dict[str, str]]) -> None:
        self.stages += [step["stage"] for step in progress]
        if self.phase is Phase.READING and any(stage.startswith("fitting") for stage in self.stages):
            self.phase = Phase.FITTING

    def _see_store(self, exchange: Exchange) -> None:
        if exchange.is_over:
            return
        if exchange.method == "GET":
            self.phase = Phase.READING
            return
        self.phase = Phase.UPLOADING


@dataclass(frozen=True)
class Caught:
    """A job that is stopped in a phase, at this workshop; hold: None where nothing needs holding."""

    workshop: Workshop
    hold: Hold | None

    def release(self, *, dropped: bool = False) -> None:
        if self.hold is not None:
            self.hold.release(dropped=dropped)


def catch(
    workshops: list[Workshop], phase: Phase, begin: Callable[[], object], *, answered: bool = False
) -> Caught:
    """Do `begin`, and wait until a job is in this phase at one of these workshops. A fit is not stopped: it is long."""
    if phase is Phase.FITTING:
        begin()
        return Caught(
            _first(workshops, lambda each: bool(each.phase is phase and each.children()), phase), None
        )
    holds = {id(each): each.hold(phase, answered=answered) for each in workshops}
    begin()
    found = _first(workshops, lambda each: holds[id(each)].reached.is_set(), phase)
    for key, hold in holds.items():
        if key != id(found):
            hold.release()
    return Caught(found, holds[id(found)])


def _first(workshops: list[Workshop], is_it: Callable[[Workshop], bool], phase: Phase) -> Workshop:
    wait_until(lambda: any(map(is_it, workshops)), f"a job is {phase}")
    return next((each for each in workshops if is_it(each)), workshops[0])


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)
