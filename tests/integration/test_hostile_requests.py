"""Bytes that two programs could read in two ways are refused, and the connection is closed."""

import socket
from collections.abc import Iterator

import pytest

from mirt.store.engine.migrate import upgrade
from tests.deployment import SECRET
from tests.integration.test_ingress import serving
from tests.settings import sqlite_url

UPDATE = b'{"update_id": 1}'
POST = b"POST /webhooks/telegram HTTP/1.1\r\n"
OURS = (f"Content-Type: application/json\r\nX-Telegram-Bot-Api-Secret-Token: {SECRET}\r\n").encode()
HOST, LENGTH = b"Host: mirt\r\n", b"Content-Length: 16\r\n"
CHUNKED, CHUNK = b"Transfer-Encoding: chunked\r\n", b"10\r\n" + UPDATE + b"\r\n0\r\n\r\n"


def request(*headers: bytes, body: bytes = UPDATE, line: bytes = POST) -> bytes:
    return b"".join([line, *headers, OURS, b"\r\n", body])


AMBIGUOUS = {
    "length and chunked": request(HOST, LENGTH, CHUNKED, body=CHUNK),
    "a request within": request(
        HOST, LENGTH, CHUNKED, body=b"0\r\n\r\nGET /readyz HTTP/1.1\r\nHost: mirt\r\n\r\n"
    ),
    "xchunked": request(HOST, b"Transfer-Encoding: xchunked\r\n", body=CHUNK),
    "chunked twice": request(HOST, b"Transfer-Encoding: chunked, chunked\r\n", body=CHUNK),
    "two codings": request(HOST, CHUNKED, CHUNKED, body=CHUNK),
    "vertical tab": request(HOST, b"Transfer-Encoding: \x0bchunked\r\n", body=CHUNK),
    "chunked in 1.0": request(
        HOST, CHUNKED, body=CHUNK, line=b"POST /webhooks/telegram HTTP/1.0\r\n"
    ),
    "two lengths": request(HOST, LENGTH, b"Content-Length: 17\r\n"),
    "list of lengths": request(HOST, b"Content-Length: 16, 16\r\n"),
    "plus": request(HOST, b"Content-Length: +16\r\n"),
    "minus": request(HOST, b"Content-Length: -1\r\n"),
    "hexadecimal": request(HOST, b"Content-Length: 0x10\r\n"),
    "beyond numbers": request(HOST, b"Content-Length: 99999999999999999999999\r\n"),
    "space before colon": request(HOST, b"Content-Length : 16\r\n"),
    "folded header": request(HOST, LENGTH, b"X-A: b\r\n c\r\n"),
    "bare line feed": request(HOST, LENGTH, b"X-A: b\nX-B: c\r\n"),
    "bare return": request(HOST, LENGTH, b"X-A: b\rX-B: c\r\n"),
    "two hosts": request(HOST, b"Host: other\r\n", LENGTH),
    "nul": request(HOST, LENGTH, b"X-A: a\x00b\r\n"),
    "escape": request(HOST, LENGTH, b"X-A: a\x1bb\r\n"),
    "no chunk": request(HOST, CHUNKED, body=b"zz\r\n" + CHUNK),
    "negative chunk": request(HOST, CHUNKED, body=b"-" + CHUNK),
    "chunk too long": request(HOST, CHUNKED, body=b"10\r\n" + UPDATE + b"XX\r\n0\r\n\r\n"),
    "huge chunk": request(HOST, CHUNKED, body=b"FFFFFFFFFFFFFFFFF\r\n" + UPDATE),
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http 9": request(HOST, LENGTH, line=b"POST /webhooks/telegram HTTP/9.9\r\n"),
    "control in path": b"GET /web\x1bhooks HTTP/1.1\r\nHost: mirt\r\n\r\n",
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an ingress that needs no server but a file."""
    folder = tmp_path_factory.mktemp("hostile")
    upgrade(sqlite_url(folder))
    environment = {
        "DATABASE_URL": sqlite_url(folder),
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "OPS_TOKEN": "operators-token-1",
    }
    with serving(folder, environment) as port:
        yield port


def answer_to(port: int, said: bytes) -> bytes:
    """Everything that is answered until the other side closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(said)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("said", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_request_that_can_be_read_in_two_ways_is_refused_and_closed(
    alone: int, said: bytes
) -> None:
    answered = answer_to(alone, said)
    assert answered.startswith(b"HTTP/1.1 400 ")
    assert answered.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("path", ["/ops/login", "/tasks/order", "/metrics", "/nothing"])
def test_a_length_of_ten_gigabytes_is_refused_before_the_body(alone: int, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: mirt\r\nContent-Length: 10000000000\r\n\r\n"
    assert answer_to(alone, head.encode()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "path",
    ["//ops", "///ops", "/%2fops", "//metrics", "//readyz", "//tasks/order", "//webhooks/telegram"],
)
def test_a_path_with_two_leading_slashes_leads_nowhere(alone: int, path: str) -> None:
    for method in ("GET", "POST"):
        close = "Connection: close\r\nContent-Length: 0\r\n"
        said = f"{method} {path} HTTP/1.1\r\nHost: mirt\r\n{close}\r\n"
        assert answer_to(alone, said.encode()).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize(
    "path",
    [
        "/ops/",
        "/OPS",
        "/ops%2f",
        "/ops;x",
        "/./ops",
        "/webhooks/../ops",
        "/ops/static/..%2fpage.py",
    ],
)
def test_a_path_that_is_no_route_is_none_in_any_spelling(alone: int, path: str) -> None:
    said = f"GET {path} HTTP/1.1\r\nHost: mirt\r\nConnection: close\r\n\r\n"
    assert answer_to(alone, said.encode()).startswith(b"HTTP/1.1 404 ")
