"""An HTTP server before a real one: a test holds single requests there, or their answers, as long as it likes."""

import http.client
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

TIMEOUT_SECONDS = 60.0
NOT_PASSED_ON = ("connection", "transfer-encoding", "content-length", "keep-alive")

Moment = Literal["asked", "answered"]


@dataclass
class Exchange:
    """A request and, from `answered` on, what came back."""

    method: str
    path: str
    body: bytes
    status: int | None = None
    answer: bytes = b""
    is_over: bool = False
    """Whoever asked has the answer."""


@dataclass
class Hold:
    """Catches one exchange that matches at one moment; it goes on when the hold is released.

    dropped: the connection ends then, and neither request nor answer gets any further.
    """

    matches: Callable[[Exchange], bool]
    moment: Moment
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    is_dropped: bool = False
    exchange: Exchange | None = None

    def release(self, *, dropped: bool = False) -> None:
        self.is_dropped = dropped
        self.released.set()

    def catch(self, exchange: Exchange, moment: Moment) -> bool:
        """Returns whether the exchange goes on."""
        if self.reached.is_set() or self.released.is_set():
            return True
        if moment != self.moment or not self.matches(exchange):
            return True
        self.exchange = exchange
        self.reached.set()
        self.released.wait(TIMEOUT_SECONDS)
        return not self.is_dropped


class Gate:
    """watch: is told of each exchange, before it is held."""

    def __init__(self, target_port: int, *, watch: Callable[[Exchange], None] = lambda _: None) -> None:
        self._holds: list[Hold] = []
        self.watch = watch
        self._server = _Server(self, target_port)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def hold(self, matches: Callable[[Exchange], bool], *, moment: Moment = "asked") -> Hold:
        hold = Hold(matches, moment)
        self._holds.append(hold)
        return hold

    def goes_on(self, exchange: Exchange, moment: Moment) -> bool:
        self.watch(exchange)
        self._holds = [each for each in self._holds if not each.released.is_set()]
        return all(hold.catch(exchange, moment) for hold in self._holds)

    def release_all(self) -> None:
        for hold in self._holds:
            hold.release()

    def close(self) -> None:
        self.release_all()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, *_: object) -> None:
        pass

    def _pass(self) -> None:
        gate = self.server.gate
        length = int(self.headers.get("Content-Length") or 0)
        exchange = Exchange(self.command, self.path, self.rfile.read(length))
        self.close_connection = True
        if not gate.goes_on(exchange, "asked"):
            return
        try:
            headers = self._ask(exchange)
        except (OSError, http.client.HTTPException):
            return
        if not gate.goes_on(exchange, "answered"):
            return
        self._answer(exchange, headers)
        self.close_connection = False
        exchange.is_over = True
        gate.watch(exchange)

    def _ask(self, exchange: Exchange) -> list[tuple[str, str]]:
        target = http.client.HTTPConnection("127.0.0.1", self.server.target_port, timeout=TIMEOUT_SECONDS)
        try:
            target.putrequest(exchange.method, exchange.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    target.putheader(name, value)
            target.endheaders(exchange.body or None)
            response = target.getresponse()
            exchange.answer, exchange.status = response.read(), response.status
            return response.getheaders()
        finally:
            target.close()

    def _answer(self, exchange: Exchange, headers: list[tuple[str, str]]) -> None:
        self.send_response_only(exchange.status or 502)
        length = str(len(exchange.answer))
        for name, value in headers:
            if exchange.method == "HEAD" and name.lower() == "content-length":
                length = value
            if name.lower() not in NOT_PASSED_ON:
                self.send_header(name, value)
        if exchange.status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(exchange.answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, gate: Gate, target_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.gate, self.target_port = gate, target_port

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed leaves broken connections; that is what it is here for."""
