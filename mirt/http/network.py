"""Give the sockets of the HTTP client one deadline for a whole request.

The timeouts of the HTTP client start again with each read, so a server that sends single bytes
could hold a thread for ever. Here every connect, read and write gets only the time left until the
end of ``request_deadline``. The system resolves host names, with its own timeout.
"""

import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from math import inf
from typing import Any

import httpcore

_PIECE = 65_536
_LONGEST_WAIT_S = 1.0

_end: ContextVar[float] = ContextVar("request_end", default=inf)


@contextmanager
def request_deadline(end: float) -> Iterator[None]:
    """End every network wait of the body by ``end``, a time of ``time.monotonic``."""
    token = _end.set(end)
    try:
        yield
    finally:
        _end.reset(token)


def _left(timeout: float | None, too_late: type[Exception]) -> float:
    left = _end.get() - time.monotonic()
    if left <= 0:
        raise too_late
    return left if timeout is None else min(left, timeout)


class BoundedStream(httpcore.NetworkStream):
    """A connection whose waits end by the deadline of the request.

    What is written is sent with the next read, so that headers and body leave in one packet.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._unsent = bytearray()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Send what was written, then read up to ``max_bytes``, by the deadline of the request.

        The wait is cut into seconds: an error that another thread raises in this one comes through
        between two of them.
        """
        if self._unsent:
            # A server may answer before it has read everything, and close: its answer counts.
            with suppress(httpcore.WriteError):
                self._send(timeout)
        end = time.monotonic() + _left(timeout, httpcore.ReadTimeout)
        while True:
            left = end - time.monotonic()
            try:
                return self._stream.read(max_bytes, min(max(left, 0.0), _LONGEST_WAIT_S))
            except httpcore.ReadTimeout:
                if left <= _LONGEST_WAIT_S:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Keep the buffer for the next read; a large one is sent at once."""
        self._unsent += buffer
        if len(self._unsent) >= _PIECE:
            self._send(timeout)

    def _send(self, timeout: float | None) -> None:
        """Send in pieces: within one write of httpcore, each wait restarts the timeout."""
        unsent, self._unsent = bytes(self._unsent), bytearray()
        for start in range(0, len(unsent), _PIECE):
            piece = unsent[start : start + _PIECE]
            self._stream.write(piece, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Do the TLS handshake; return a stream with the same deadline."""
        left = _left(timeout, httpcore.ConnectTimeout)
        return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        """Return a fact of the connection, such as its socket."""
        return self._stream.get_extra_info(info)


class BoundedBackend(httpcore.NetworkBackend):
    """A backend whose connections end by the deadline of the request."""

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def addresses(self, host: str, port: int) -> Iterable[str]:
        """Return the addresses that ``connect_tcp`` tries, in order.

        Raises:
            httpcore.ConnectError: the host has no address.
        """
        return _addresses(host, port)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of ``host`` that answers, trying them in order."""
        failure: Exception = httpcore.ConnectError("no address")
        for address in self.addresses(host, port):
            left = _left(timeout, httpcore.ConnectTimeout)
            try:
                return BoundedStream(
                    self._backend.connect_tcp(address, port, left, local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} has no address") from error
    return [str(address[0]) for *_, address in found]
