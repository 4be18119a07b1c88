"""The proxy itself: a fault that is not there proves nothing."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.ml_service.peer import Peer, running_peer
from tests.proxy import Proxy

ASK = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running_peer() as peer:
        peer.routes["/a"] = lambda _: (200, {"text": "a" * 400})
        yield peer


@pytest.fixture
def proxy(peer: Peer) -> Iterator[Proxy]:
    with closing(Proxy(int(peer.url.rpartition(":")[2]))) as proxy:
        yield proxy


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def answer(client: socket.socket) -> bytes:
    client.sendall(ASK)
    found = b""
    while not found.endswith(b"}"):
        piece = client.recv(1)
        if not piece:
            raise ConnectionResetError("closed before the end")
        found += piece
    return found


def answer_to_a_new_one(proxy: Proxy) -> bytes:
    with connected(proxy) as client:
        return answer(client)


class TestProxy:
    def test_passes_what_it_gets(self, proxy: Proxy) -> None:
        with connected(proxy) as client:
            assert answer(client).startswith(b"HTTP/1.1 200")
            assert answer(client).endswith(b'aa"}')
        assert proxy.bytes_passed > 800

    def test_that_stalls_holds_what_is_sent_until_it_passes(self, proxy: Proxy) -> None:
        with connected(proxy) as client:
            answer(client)
            proxy.stall()
            client.sendall(ASK)
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(1)

            proxy.passing()

            client.settimeout(5)
            assert client.recv(4) == b"HTTP"

    def test_that_is_slow_takes_the_time_it_says(self, proxy: Proxy) -> None:
        with connected(proxy) as client:
            answer(client)
            proxy.slow(1000)
            began = time.monotonic()

            found = answer(client)

            assert time.monotonic() - began > len(found) / 1000 * 0.8

    @pytest.mark.parametrize("mode", ["refuse", "reset"])
    def test_that_breaks_ends_what_is_open_and_works_again(self, proxy: Proxy, mode: str) -> None:
        with connected(proxy) as client:
            answer(client)
            getattr(proxy, mode)()
            with pytest.raises(ConnectionError):
                client.recv(1)
        with pytest.raises(ConnectionError):
            answer_to_a_new_one(proxy)

        proxy.passing()

        with connected(proxy) as client:
            assert answer(client).startswith(b"HTTP/1.1 200")
