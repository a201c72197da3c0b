"""G20: clients that are slow, silent or malformed delay no webhook and no liveness check."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from service.processes.open_files import raise_limit
from tests.deployment import SECRET, Deployment, update
from tests.polling import wait_until

SOON_S = 5.0
"""An answer is due within a second; the rest is for a busy machine."""
HEAD = (
    "POST /webhooks/telegram HTTP/1.1\r\nHost: mirt\r\nContent-Type: application/json\r\n"
    f"X-Telegram-Bot-Api-Secret-Token: {SECRET}\r\n"
).encode()
Rude = Callable[[Deployment, ExitStack], object]


def connect(deployed: Deployment, stack: ExitStack, said: bytes) -> None:
    """Open a connection, say this, and fall silent."""
    connection = socket.create_connection(("127.0.0.1", deployed.port))
    stack.callback(connection.close)
    connection.sendall(said)


def silent(deployed: Deployment, stack: ExitStack) -> None:
    for _ in range(24):
        connect(deployed, stack, b"")


def slow_headers(deployed: Deployment, stack: ExitStack) -> None:
    for _ in range(24):
        connect(deployed, stack, HEAD[:40])


def slow_bodies(deployed: Deployment, stack: ExitStack) -> None:
    for _ in range(24):
        connect(deployed, stack, HEAD + b"Content-Length: 1000\r\n\r\n{")


def slow_bodies_of_a_page(deployed: Deployment, stack: ExitStack) -> None:
    for _ in range(24):
        connect(deployed, stack, b"POST /ops/login HTTP/1.1\r\nContent-Length: 1000\r\n\r\nt")


def malformed(deployed: Deployment, stack: ExitStack) -> None:
    for _ in range(80):
        connect(deployed, stack, b"hello")


def left_open(deployed: Deployment, stack: ExitStack) -> None:
    for _ in range(50):
        head = b"GET /healthz HTTP/1.1\r\nHost: mirt\r\nConnection: close\r\n\r\n"
        connect(deployed, stack, head)


def kept_alive(deployed: Deployment, stack: ExitStack) -> None:
    raise_limit()
    for _ in range(2_020):
        connect(deployed, stack, b"GET /healthz HTTP/1.1\r\nHost: mirt\r\n\r\n")


@contextmanager
def scraped(deployed: Deployment) -> Iterator[None]:
    with ThreadPoolExecutor(100) as clients:
        for _ in range(100):
            clients.submit(deployed.get, "/metrics")
        yield


def many_scrapers(deployed: Deployment, stack: ExitStack) -> None:
    stack.enter_context(scraped(deployed))


@pytest.mark.parametrize(
    "rude",
    [
        silent,
        slow_headers,
        slow_bodies,
        slow_bodies_of_a_page,
        malformed,
        left_open,
        kept_alive,
        many_scrapers,
    ],
)
def test_a_webhook_and_a_liveness_check_are_answered_soon_beside_rude_clients(
    deployed: Deployment, rude: Rude
) -> None:
    deployed.web()
    with ExitStack() as stack:
        rude(deployed, stack)
        took: list[float] = []
        for number in range(1, 21):
            began = time.monotonic()
            assert deployed.post(update(number, 1, "Привіт")).status_code == 200
            assert deployed.get("/healthz").status_code == 200
            took.append(time.monotonic() - began)
    assert max(took) < 2 * SOON_S


def test_a_connection_without_headers_is_closed(deployed: Deployment) -> None:
    deployed.web()
    with socket.create_connection(("127.0.0.1", deployed.port)) as connection:
        connection.sendall(HEAD[:40])
        connection.settimeout(60)
        assert connection.recv(1) == b""


def test_headers_without_end_are_refused(deployed: Deployment) -> None:
    deployed.web()
    with socket.create_connection(("127.0.0.1", deployed.port)) as connection:
        connection.settimeout(60)
        line = b"X-Padding: " + b"a" * 1000 + b"\r\n"

        def is_closed() -> bool:
            try:
                connection.sendall(line)
            except OSError:
                return True
            return False

        connection.sendall(HEAD)
        wait_until(is_closed, within_s=60)
    assert httpx.get(f"http://127.0.0.1:{deployed.port}/healthz").status_code == 200
