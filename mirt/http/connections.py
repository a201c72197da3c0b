"""Keep idle connections to a service, and give each to one request at a time.

For each request and each answer httpcore's own pool looks at all of its connections, under one
lock, so with hundreds of waiting calls each call costs more. Here a call takes the connection that
was used last or makes one. The caller bounds the number of calls.
"""

import ssl
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import httpcore

from mirt.http.network import BoundedBackend

KEEP_ALIVE_S: Final = 30.0
"""Seconds after which an idle connection is closed."""

_Idle = deque[httpcore.HTTPConnection]


class Connections:
    """The connections of one client, as httpx expects its pool: ``handle_request``, ``close``."""

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        self._ssl_context = ssl_context
        self._idle: defaultdict[tuple[bytes, bytes, int], _Idle] = defaultdict(deque)

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request; its connection is free again when the body of the answer is closed.

        Raises:
            Exception: an error of httpcore; the connection is closed.
        """
        if request.url.scheme not in (b"http", b"https"):
            raise httpcore.UnsupportedProtocol("neither http nor https")
        origin = request.url.origin
        idle = self._idle[origin.scheme, origin.host, origin.port]
        connection = _take(idle) or httpcore.HTTPConnection(
            origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=KEEP_ALIVE_S,
            network_backend=BoundedBackend(),
        )
        try:
            answer = connection.handle_request(request)
        except BaseException:
            connection.close()
            raise
        body = _Body(answer.stream, partial(_put_back, idle, connection))
        return httpcore.Response(
            answer.status, headers=answer.headers, content=body, extensions=answer.extensions
        )

    def close(self) -> None:
        """Close the idle connections. Those in use are closed by their answers."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    def __enter__(self) -> "Connections":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Body:
    """The body of an answer, which gives its connection back when it is closed."""

    def __init__(self, stream: Any, put_back: Callable[[], None]) -> None:
        self._stream = stream
        self._put_back: Callable[[], None] | None = put_back

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        """End the answer: read or not, its connection may be used again if it can."""
        put_back, self._put_back = self._put_back, None
        if put_back is not None:
            self._stream.close()
            put_back()


def _take(idle: _Idle) -> httpcore.HTTPConnection | None:
    """Return a connection that still lives, the one that was used last."""
    while idle:
        try:
            connection = idle.pop()
        except IndexError:  # another thread was faster
            return None
        if connection.is_available() and not connection.has_expired():
            return connection
        connection.close()
    return None


def _put_back(idle: _Idle, connection: httpcore.HTTPConnection) -> None:
    if connection.is_idle():
        idle.append(connection)
    # One at a time, so that the connections of a burst do not stay.
    try:
        oldest = idle.popleft()
    except IndexError:
        return
    if oldest.has_expired():
        oldest.close()
    else:
        idle.appendleft(oldest)
