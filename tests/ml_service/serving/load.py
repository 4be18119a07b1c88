"""Requests for predictions in numbers, sent from a process of its own: the service's is busy enough.

`python -m tests.ml_service.serving.load PLAN` does as the plan says and prints what came of it, both as JSON.
"""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

PROBLEM = b"application/problem+json"
PATIENCE_SECONDS = 30.0
TICK_SECONDS, IDLE_SECONDS = 0.001, 2.0


@dataclass(frozen=True)
class Plan:
    """rate: requests for each second, however long they take; None: each of the connections sends its next request
    when it has its answer. fresh: a connection for each request."""

    url: str
    body: str
    seconds: float
    headers: dict[str, str] = field(default_factory=dict)
    connections: int = 8
    rate: float | None = None
    fresh: bool = False

    @property
    def request(self) -> bytes:
        where, body = urlsplit(self.url), self.body.encode()
        own = {"Host": where.netloc, "Content-Type": "application/json", **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in own.items())
        head = f"POST {where.path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


@dataclass
class Outcome:
    """milliseconds: of each answer, by its status; broken: what came instead of an answer; wordless: refusals that are
    no problem or do not say when to come again; late: by how many milliseconds the sender itself was behind."""

    milliseconds: dict[int, list[float]] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    wordless: int = 0
    late: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, status: int) -> int:
        return len(self.milliseconds.get(status, ()))

    def at(self, share: float, status: int) -> float:
        """A quantile in milliseconds."""
        found = sorted(self.milliseconds[status])
        return found[min(len(found) - 1, int(share * len(found)))]

    def told(self) -> str:
        each = (
            f"{status}: {self.count(status)} ({self.count(status) / self.seconds:.0f}/s), "
            f"p50 {self.at(0.5, status):.1f}, p99 {self.at(0.99, status):.1f}, "
            f"longest {self.at(1, status):.1f} ms"
            for status in sorted(self.milliseconds)
        )
        late = sorted(self.late)[int(0.99 * len(self.late))] if self.late else 0.0
        return "; ".join([*each, f"broken: {self.broken}, wordless: {self.wordless}, p99 late {late:.1f} ms"])


class Load:
    """One plan that is being carried out."""

    def __init__(self, plan: Plan) -> None:
        command = [sys.executable, "-m", "tests.ml_service.serving.load", json.dumps(asdict(plan))]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def outcome(self, *, stop: bool = False) -> Outcome:
        """Wait for its end, or end it now."""
        if stop:
            self._process.terminate()
        said, _ = self._process.communicate()
        assert self._process.returncode == 0
        found = json.loads(said)
        found["milliseconds"] = {int(status): each for status, each in found["milliseconds"].items()}
        return Outcome(**found)


def load(url: str, row: dict[str, Any], seconds: float, **facts: Any) -> Load:
    """Begin to send one row again and again; the model has to answer each time."""
    body = json.dumps({"input_data": row, "use_cache": False})
    return Load(Plan(url, facts.pop("body", body), seconds, **facts))


class Connection(asyncio.Protocol):
    """Callbacks alone: tasks and futures would take more of the processor than what is measured."""

    def __init__(self, sender: "Sender") -> None:
        self._sender = sender
        self._received = b""
        self._began: float | None = None
        self._idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    @property
    def is_open(self) -> bool:
        """A server hangs up on who is silent for long: not while a request is on its way to it."""
        is_fresh = time.perf_counter() - self._idle_since < IDLE_SECONDS
        return is_fresh and not self._transport.is_closing()

    def send(self, request: bytes) -> None:
        self._began = time.perf_counter()
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or self._began is None:
            return
        head = head.lower()
        if len(body) < _length(head):
            return
        milliseconds = (time.perf_counter() - self._began) * 1000
        self._received, self._began, self._idle_since = b"", None, time.perf_counter()
        if b"connection: close" in head:
            self.close()
        self._sender.answered(self, head, milliseconds)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._began is not None:
            self._began = None
            self._sender.broke(exc or ConnectionResetError())


def _length(head: bytes) -> int:
    after = head.partition(b"content-length:")[2]
    return int(after.partition(b"\r\n")[0] or 0)


class Sender:
    def __init__(self, plan: Plan) -> None:
        self._plan, self._request = plan, plan.request
        self._where = urlsplit(plan.url)
        self._idle: deque[Connection] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._broken: Counter[str] = Counter()
        self._under_way, self._is_over = 0, False
        self.outcome = Outcome()

    def _end(self) -> None:
        self._is_over = True

    async def run(self) -> Outcome:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._end)
        began = time.perf_counter()
        if self._plan.rate is None:
            for _ in range(self._plan.connections):
                self._ask()
            await self._until(began + self._plan.seconds)
        else:
            await self._arrive(began, self._plan.rate)
        self._is_over = True
        self.outcome.seconds = time.perf_counter() - began
        await self._until(time.perf_counter() + PATIENCE_SECONDS, or_quiet=True)
        self._broken.update({"no answer": self._under_way} if self._under_way else {})
        self.outcome.broken = dict(self._broken)
        return self.outcome

    async def _until(self, moment: float, *, or_quiet: bool = False) -> None:
        while time.perf_counter() < moment and not (self._is_over and not or_quiet):
            if or_quiet and not self._under_way:
                return
            await asyncio.sleep(TICK_SECONDS)

    async def _arrive(self, began: float, rate: float) -> None:
        for number in range(int(rate * self._plan.seconds)):
            due = began + number / rate
            while (ahead := due - time.perf_counter()) > 0 and not self._is_over:
                await asyncio.sleep(max(ahead, TICK_SECONDS))
            if self._is_over:
                return
            self.outcome.late.append(-ahead * 1000)
            self._ask()

    def _ask(self) -> None:
        self._under_way += 1
        while self._idle:
            found = self._idle.pop()
            if found.is_open:
                found.send(self._request)
                return
            found.close()
        task = asyncio.create_task(self._ask_anew())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _ask_anew(self) -> None:
        assert self._where.hostname
        assert self._where.port
        try:
            _, made = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), self._where.hostname, self._where.port
            )
        except OSError as error:
            self.broke(error)
        else:
            made.send(self._request)

    def answered(self, connection: Connection, head: bytes, milliseconds: float) -> None:
        status = int(head[9:12])
        self.outcome.milliseconds.setdefault(status, []).append(milliseconds)
        if status == 503 and (PROBLEM not in head or b"\r\nretry-after: " not in head):
            self.outcome.wordless += 1
        if self._plan.fresh:
            connection.close()
        elif connection.is_open:
            self._idle.append(connection)
        self._over_with_one()

    def broke(self, error: Exception) -> None:
        self._broken[type(error).__name__] += 1
        self._over_with_one()

    def _over_with_one(self) -> None:
        self._under_way -= 1
        if self._plan.rate is None and not self._is_over:
            self._ask()


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(Sender(Plan(**json.loads(sys.argv[1]))).run()))))
