"""An answer that grows when it is decompressed costs no more memory than one that may be kept."""

import gzip
import threading
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from mirt.errors import ErrorCode, ExternalServiceError
from mirt.http import ExternalService

MIB = 1024 * 1024
BOMB = gzip.compress(bytes(200 * MIB))


class Upstream(BaseHTTPRequestHandler):
    """Answers with a body and the encoding that it claims."""

    encoding: ClassVar[str] = "gzip"
    body: ClassVar[bytes] = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Encoding", self.encoding)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_request(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[ExternalService]:
    with HTTPServer(("127.0.0.1", 0), Upstream) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        opened = ExternalService(
            "upstream",
            f"http://127.0.0.1:{server.server_port}",
            secrets=[SecretStr("key")],
            timeout=10.0,
            refusal_code=ErrorCode.CHANNEL_REFUSED,
        )
        yield opened
        opened.close()
        server.shutdown()


def answer(monkeypatch: pytest.MonkeyPatch, body: bytes, encoding: str) -> None:
    monkeypatch.setattr(Upstream, "body", body)
    monkeypatch.setattr(Upstream, "encoding", encoding)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (BOMB, "gzip"),
        (gzip.compress(BOMB), "gzip, gzip"),
        (BOMB, "br"),
        (b"no gzip at all", "gzip"),
    ],
    ids=["gzip", "twice", "another coding", "no gzip"],
)
def test_an_answer_that_expands_is_refused_before_it_fills_the_memory(
    service: ExternalService, monkeypatch: pytest.MonkeyPatch, body: bytes, encoding: str
) -> None:
    answer(monkeypatch, body, encoding)
    tracemalloc.start()
    try:
        with pytest.raises(ExternalServiceError):
            service.call("GET", "/", idempotent=True)
        assert tracemalloc.get_traced_memory()[1] < 32 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_an_ordinary_answer_is_read_in_the_coding_that_we_ask_for(
    service: ExternalService, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    plain = b'{"ok": true}'
    answer(monkeypatch, gzip.compress(plain) if encoding == "gzip" else plain, encoding)
    assert service.call("GET", "/", idempotent=True).body == {"ok": True}
