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
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        assert self._transport
        self.answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self.answer

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        self._received = b""
        if self.answer and not self.answer.done():
            self.answer.set_result((int(head[9:12]), head.lower()))
        if b"connection: close" in head.lower():
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer and not self.answer.done():
            self.answer.set_exception(ConnectionResetError("no answer"))


def _length(head: bytes) -> int:
    after = head.lower().partition(b"content-length:")[2]
    return int(after.partition(b"\r\n")[0] or 0)


class Sender:
    def __init__(self, plan: Plan) -> None:
        self._plan, self._request = plan, plan.request
        self._where = urlsplit(plan.url)
        self._idle: deque[Connection] = deque()
        self._broken: Counter[str] = Counter()
        self._is_over = False
        self.outcome = Outcome()

    def _end(self) -> None:
        self._is_over = True

    async def run(self) -> Outcome:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._end)
        began = time.perf_counter()
        await (self._closed() if self._plan.rate is None else self._open(self._plan.rate))
        self.outcome.seconds = time.perf_counter() - began
        self.outcome.broken = dict(self._broken)
        return self.outcome

    async def _closed(self) -> None:
        ends = time.perf_counter() + self._plan.seconds

        async def one() -> None:
            while time.perf_counter() < ends and not self._is_over:
                await self._ask()

        await asyncio.gather(*(one() for _ in range(self._plan.connections)))

    async def _open(self, rate: float) -> None:
        began, asking = time.perf_counter(), set()
        for number in range(int(rate * self._plan.seconds)):
            ahead = began + number / rate - time.perf_counter()
            if ahead > 0:
                await asyncio.sleep(ahead)
            if self._is_over:
                break
            self.outcome.late.append(max(0.0, -ahead) * 1000)
            task = asyncio.create_task(self._ask())
            asking.add(task)
            task.add_done_callback(asking.discard)
        await asyncio.gather(*asking)

    async def _ask(self) -> None:
        try:
            connection = await self._connection()
            began = time.perf_counter()
            async with asyncio.timeout(PATIENCE_SECONDS):
                status, head = await connection.send(self._request)
        except (OSError, TimeoutError) as error:
            self._broken[type(error).__name__] += 1
            return
        self.outcome.milliseconds.setdefault(status, []).append((time.perf_counter() - began) * 1000)
        if status == 503 and (PROBLEM not in head or b"\r\nretry-after: " not in head):
            self.outcome.wordless += 1
        if self._plan.fresh:
            connection.close()
        elif connection.is_open:
            self._idle.append(connection)

    async def _connection(self) -> Connection:
        while self._idle:
            found = self._idle.pop()
            if found.is_open:
                return found
        assert self._where.hostname
        assert self._where.port
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(Connection, self._where.hostname, self._where.port)
        return made


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(Sender(Plan(**json.loads(sys.argv[1]))).run()))))
