"""A connection serves one call at a time, is used again, and is not kept for ever."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpcore
import pytest

from mirt.http import connections
from mirt.http.connections import Connections
from mirt.http.network import request_deadline
from mirt.http.pool import trusted
from tests.polling import wait_until


class Server(ThreadingHTTPServer):
    """Answers each request, on ``/late`` when it is released; knows its clients' ports."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.clients: list[int] = []
        self.release = threading.Event()
        self.arrived = threading.Semaphore(0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.clients.append(self.client_address[1])
        if self.path == "/late":
            self.server.arrived.release()
            self.server.release.wait(10)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        if self.path == "/last":
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.release.set()
        server.shutdown()


@pytest.fixture
def pool() -> Iterator[Connections]:
    with Connections(trusted()) as pool:
        yield pool


def get(pool: Connections, server: Server, path: str = "/", *, read: bool = True) -> bytes:
    url = f"http://127.0.0.1:{server.server_address[1]}{path}"
    with request_deadline(time.monotonic() + 10):
        answer = pool.handle_request(httpcore.Request("GET", url, headers={"Host": "x"}))
        try:
            return answer.read() if read else b""
        finally:
            answer.close()


def test_calls_one_after_another_share_a_connection(pool: Connections, server: Server) -> None:
    assert [get(pool, server) for _ in range(3)] == [b"ok"] * 3
    assert len(set(server.clients)) == 1


def at_once(pool: Connections, server: Server, calls: int) -> None:
    """Let so many calls wait for their answers at the same moment."""
    threads = [threading.Thread(target=get, args=(pool, server, "/late")) for _ in range(calls)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert server.arrived.acquire(timeout=10)
    server.release.set()
    for thread in threads:
        thread.join()


def test_calls_at_the_same_moment_have_a_connection_each(pool: Connections, server: Server) -> None:
    at_once(pool, server, 3)
    assert len(set(server.clients)) == 3


def test_a_connection_that_the_server_closes_is_not_used_again(
    pool: Connections, server: Server
) -> None:
    assert [get(pool, server, "/last"), get(pool, server)] == [b"ok", b"ok"]
    assert len(set(server.clients)) == 2


def test_an_answer_that_was_not_read_spoils_no_other(pool: Connections, server: Server) -> None:
    get(pool, server, read=False)
    assert get(pool, server) == b"ok"


@pytest.mark.parametrize("others", [1, 40])
def test_a_call_looks_at_two_connections_however_many_there_are(
    pool: Connections, server: Server, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    at_once(pool, server, others)
    looked, has_expired = [], httpcore.HTTPConnection.has_expired

    def counted(connection: httpcore.HTTPConnection) -> bool:
        looked.append(connection)
        return has_expired(connection)

    monkeypatch.setattr(httpcore.HTTPConnection, "has_expired", counted)
    get(pool, server)
    assert len(looked) == 2


def test_connections_of_a_burst_do_not_stay(
    pool: Connections, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "KEEP_ALIVE_S", 0.05)
    at_once(pool, server, 3)
    [idle] = pool._idle.values()
    wait_until(lambda: all(one.has_expired() for one in idle))
    get(pool, server)
    assert len(idle) == 1
    assert server.clients[-1] not in server.clients[:-1]


def test_only_http_is_spoken(pool: Connections) -> None:
    with pytest.raises(httpcore.UnsupportedProtocol):
        pool.handle_request(httpcore.Request("GET", "ftp://127.0.0.1/"))
