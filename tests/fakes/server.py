"""Real HTTP/1.1 with keep-alive, a thread for each connection, that can break every rule of it."""

import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tests.fakes import control
from tests.fakes.misbehaviour import Delay, Hang, Reset, SlowBytes
from tests.fakes.traffic import APIS, Reply, Request

if TYPE_CHECKING:
    from tests.fakes.services import FakeServices

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class FakeServer(ThreadingHTTPServer):
    """Listens from its construction, serves from ``start`` to ``stop``."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, services: "FakeServices", port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.services = services
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        self.accepted = 0
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.02,), name="fake-world", daemon=True
        )

    def start(self) -> None:
        """Serve in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End every connection and free the port."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()
        with self._guard:
            for connection in self._connections:
                _hang_up(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that ``stop`` can end it."""
        with self._guard:
            self._connections.add(request)
            self.accepted += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FakeServer

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PATCH = do_GET  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: every request is recorded."""

    def _serve(self) -> None:
        request, services = self._request(), self.server.services
        if request.api == "_control":
            self._write(control.answer(services, request))
        elif request.api not in APIS:
            self._write(Reply(404, {"error": "no such API"}))
        else:
            self._answer(request, services)

    def _answer(self, request: Request, services: "FakeServices") -> None:
        rule, released, reply = services.take(request)
        services.pause(services.latency.get(request.api, 0))
        match rule.what if rule else None:
            case Delay(seconds):
                services.pause(seconds)
            case Hang():
                services.hold(released)
            case Reset():
                reply = None
            case SlowBytes(pause, headers) if reply:
                self._drip(reply, pause, headers=headers)
                return
        if reply is None:
            self._reset()
        else:
            self._write(reply)

    def _request(self) -> Request:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        url = urlsplit(self.path)
        return Request(
            api=_api(url.path),
            method=self.command,
            path=url.path,
            query=dict(parse_qsl(url.query)),
            body=body,
            headers={name.lower(): value for name, value in self.headers.items()},
            time=time.time(),
        )

    def _head(self, reply: Reply) -> bytes:
        headers = {"Content-Type": "application/json", **reply.headers}
        headers["Content-Length"] = str(len(reply.content()))
        lines = [f"HTTP/1.1 {reply.status} Fake", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    def _write(self, reply: Reply) -> None:
        self.wfile.write(self._head(reply) + reply.content())

    def _drip(self, reply: Reply, pause: float, *, headers: bool) -> None:
        head, content = self._head(reply), reply.content()
        if not headers:
            self.wfile.write(head)
        for byte in (head if headers else b"") + content:
            self.wfile.write(bytes([byte]))
            self.server.services.pause(pause)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.rfile.close()
        self.connection.close()


def _api(path: str) -> str:
    first = path.strip("/").split("/", 1)[0]
    known = {"v1": "llm", "api": "crm"} | {n: n for n in ("manychat", "staff", "_control")}
    known["file"] = "telegram"
    return "telegram" if first.startswith("bot") else known.get(first, "nobody")


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was faster
