"""A network between a client and a real server that a test may break as it likes."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any

PIECE_BYTES = 64 * 1024
SLOW_PORTION_SECONDS = 0.05
_NO_LINGER = struct.pack("ii", 1, 0)


class Proxy:
    """Passes TCP connections on to `target_port`; clients connect to `port`, which stays the same until `close`.

    Each mode holds for the connections that are open as well as for new ones, until another one is chosen; what a
    method says is true when it returns.

    passing: as without a proxy. stall: connections are accepted and kept, no byte passes; after `passing` what was
    held goes on. slow: so many bytes a second, for each direction of each connection. refuse: nobody listens, open
    connections end. reset: open and new connections are reset.

    `bytes_passed` counts both directions, so that a test can wait for a transfer to be under way.
    """

    def __init__(self, target_port: int, *, target_host: str = "127.0.0.1") -> None:
        self._target = (target_host, target_port)
        self.port, self.bytes_passed = 0, 0
        self._rate: float | None = None
        self._is_resetting = False
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.passing()

    def passing(self) -> None:
        self._do(self._change(flows=True))

    def stall(self) -> None:
        self._do(self._change(flows=False))

    def slow(self, bytes_per_second: float) -> None:
        self._do(self._change(flows=True, rate=bytes_per_second))

    def refuse(self) -> None:
        self._do(self._change(flows=True, listens=False))

    def reset(self) -> None:
        self._do(self._change(flows=True, resets=True))

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._do(self._change(flows=True, listens=False))
        self._do(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("the proxy is closed")
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _change(
        self, *, flows: bool, rate: float | None = None, listens: bool = True, resets: bool = False
    ) -> None:
        self._rate, self._is_resetting = rate, resets
        self._flowing.set() if flows else self._flowing.clear()
        if listens and self._server is None:
            self._server = await asyncio.start_server(
                self._connected, "127.0.0.1", self.port, limit=PIECE_BYTES
            )
            self.port = self._server.sockets[0].getsockname()[1]
        if not listens and self._server is not None:
            self._server.close()
            self._server = None
        if resets or not listens:
            for writer in list(self._open):
                _reset(writer)
            await asyncio.sleep(0)  # the sockets are closed in the loop's next round

    async def _end_tasks(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        onward: asyncio.StreamWriter | None = None
        try:
            if self._is_resetting:
                return
            back, onward = await asyncio.open_connection(*self._target, limit=PIECE_BYTES)
            self._open.add(onward)
            await asyncio.gather(self._pass_on(reader, onward), self._pass_on(back, writer))
        except OSError:
            _reset(writer)  # the server is away: the client learns it at once
        finally:
            for each in filter(None, (writer, onward)):
                self._open.discard(each)
                _reset(each) if self._is_resetting else each.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE_BYTES):
            await self._send(piece, writer)
        await self._flowing.wait()
        if writer.can_write_eof():
            writer.write_eof()

    async def _send(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        """The mode is looked at for each portion: it may change while a piece is on its way."""
        while piece:
            await self._flowing.wait()
            rate = self._rate
            size = len(piece) if rate is None else max(1, int(rate * SLOW_PORTION_SECONDS))
            portion, piece = piece[:size], piece[size:]
            writer.write(portion)
            self.bytes_passed += len(portion)
            await writer.drain()
            if rate is not None:
                await asyncio.sleep(len(portion) / rate)


def _reset(writer: asyncio.StreamWriter) -> None:
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None and found.fileno() != -1:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
