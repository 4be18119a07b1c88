"""A peer that speaks api-server's internal contract and breaks on command: the real one has faults only by chance."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import BaseModel

Answer = tuple[int, Any]
Route = Callable[[dict[str, Any]], Answer]


class Peer:
    """routes: the end of a path to what answers it. delay, status: faults for every route."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.delay_seconds = 0.0
        self.status: int | None = None
        self.url = ""

    def count(self, ending: str) -> int:
        return sum(path.endswith(ending) for path, _ in self.asked)

    def bodies(self, ending: str) -> list[dict[str, Any]]:
        return [body for path, body in self.asked if path.endswith(ending)]

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        self.asked.append((path.partition("?")[0], body))
        time.sleep(self.delay_seconds)
        if self.status is not None:
            return self.status, {}
        for ending, route in self.routes.items():
            if path.partition("?")[0].endswith(ending):
                return route(body)
        return 404, {}


@contextmanager
def running_peer() -> Iterator[Peer]:
    peer = Peer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._reply(json.loads(raw) if raw else {})

        def do_GET(self) -> None:
            self._reply({})

        def _reply(self, body: dict[str, Any]) -> None:
            status, found = peer.answer(self.path, body)
            text = found.model_dump_json() if isinstance(found, BaseModel) else json.dumps(found)
            if status == 204:
                text = ""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    peer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
