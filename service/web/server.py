"""The HTTP server: uvicorn under gunicorn, with a limit on the time and the size of headers."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from gunicorn.arbiter import Arbiter
from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from service.web.errors import Code
from service.web.ingress import refusal

HEADERS_WITHIN_S: Final = 10.0
LONGEST_HEADERS: Final = 64 * 1024
"""Bytes of the request line and all headers together."""
STOP_WITHIN_S: Final = 15
"""Seconds that running requests have to end when the process is told to stop."""
KEEP_ALIVE_S: Final = 75
"""Longer than the idle time of a load balancer (60 s as a rule), so that the balancer closes:
it would answer 502 for a request that meets our closing."""


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, which closes a connection whose headers are too slow or too long."""

    _deadline: asyncio.TimerHandle | None = None
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the headers of the first request."""
        super().connection_made(transport)
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Expect the headers of the next request from its first byte on."""
        if self._deadline is None and self.cycle is not None and self.cycle.response_complete:
            self._expect_headers()
        super().data_received(data)

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header."""
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """Let the request take its time from now on: it holds no thread."""
        self._stop_waiting()
        self._refuse_ambiguous()
        super().on_headers_complete()

    def _refuse_ambiguous(self) -> None:
        """Refuse what a proxy before us may have read in another way (RFC 9112, 3.2 and 6.1)."""
        names = [name for name, _ in self.headers]
        is_old = self.parser.get_http_version() == "1.0"
        if names.count(b"host") > 1 or (is_old and b"transfer-encoding" in names):
            raise HttpParserError("two hosts, or a transfer coding in HTTP/1.0")

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that has said all it will say; a body that broke off is a short one."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        cycle.keep_alive = cycle.more_body = False
        cycle.message_event.set()
        return True

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is no HTTP as any other error is answered."""
        status, headers, content = refusal(400, Code.INVALID_REQUEST, msg)
        lines = [f"HTTP/1.1 {status} Bad Request".encode(), *(b": ".join(one) for one in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", content]))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._header_bytes = 0
        self._deadline = self.loop.call_later(HEADERS_WITHIN_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _count(self, more: int) -> None:
        self._header_bytes += more
        if self._header_bytes > LONGEST_HEADERS:
            self._give_up()

    def _give_up(self) -> None:
        self._deadline = None
        if self.transport is not None:
            self.transport.abort()


class QuietServer(Server):
    """uvicorn's server, which ends when it is told to, and leaves the end of the process to us.

    uvicorn would send itself the signal once more, and the process would die without closing its
    connections.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop serving at SIGTERM or SIGINT."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self.handle_exit)
        yield


class IngressWorker(UvicornWorker):  # type: ignore[misc]
    """A gunicorn worker that serves an ASGI application with ``BoundedHttp``."""

    CONFIG_KWARGS: dict[str, Any] = {  # noqa: RUF012 - uvicorn_worker reads it so
        "loop": "uvloop",
        "http": BoundedHttp,
        "ws": "none",
        "lifespan": "off",
        "access_log": False,
        "server_header": False,
        "date_header": True,
        "proxy_headers": False,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": STOP_WITHIN_S,
    }

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = QuietServer(self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
