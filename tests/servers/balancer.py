"""One address for several servers, as a load balancer gives it; it can cut what it carries."""

import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self
from urllib.parse import urlsplit

from tests.servers.ports import free_port

CHUNK = 65_536


class Balancer:
    """Hands each connection to the first of ``targets``, ports of 127.0.0.1, that takes it."""

    def __init__(self, targets: Sequence[int]) -> None:
        self.port = free_port()
        self._server = _Server(("127.0.0.1", self.port), targets)
        self._thread = threading.Thread(target=self._server.serve_forever, name="balancer")
        self._thread.start()

    @classmethod
    @contextmanager
    def before(cls, url: str) -> Iterator[Self]:
        """Stand before the server of this machine that has this URL."""
        port = urlsplit(url).port
        assert port is not None
        between = cls([port])
        try:
            yield between
        finally:
            between.close()

    def url(self, url: str) -> str:
        """The same, by way of us."""
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}").geturl()

    @contextmanager
    def cut_in_mid_message(self) -> Iterator[None]:
        """Carry the first half of whatever comes next over a connection, and end it there.

        It happens to every connection, the new ones among them, until the block ends.
        """
        self._server.cutting.set()
        try:
            yield
        finally:
            self._server.cutting.clear()

    def close(self) -> None:
        """Take no more connections."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], targets: Sequence[int]) -> None:
        self.targets = targets
        self.cutting = threading.Event()
        super().__init__(address, _Connection)


class _Connection(socketserver.BaseRequestHandler):
    server: _Server
    request: Any

    def handle(self) -> None:
        target = _first_to_answer(self.server.targets)
        if target is None:
            return
        with target:
            cutting = self.server.cutting
            back = threading.Thread(
                target=_carry, args=(target, self.request, cutting), daemon=True
            )
            back.start()
            _carry(self.request, target, cutting)
            back.join()


def _first_to_answer(ports: Sequence[int]) -> socket.socket | None:
    for port in ports:
        with suppress(OSError):
            return socket.create_connection(("127.0.0.1", port))
    return None


def _carry(source: socket.socket, sink: socket.socket, cutting: threading.Event) -> None:
    """Carry bytes until either side ends or they are cut, and then end both."""
    with suppress(OSError):
        while chunk := source.recv(CHUNK):
            if cutting.is_set():
                sink.sendall(chunk[: len(chunk) // 2])
                break
            sink.sendall(chunk)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
