"""The audit of the lock names advisories, and fails for nothing else."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from tests import audit
from tests.servers.ports import free_port


class Osv(BaseHTTPRequestHandler):
    """Answers as osv.dev does: one package has an advisory."""

    bad: ClassVar[str] = ""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        names = [query["package"]["name"] for query in asked["queries"]]
        results = [{"vulns": [{"id": "GHSA-1"}]} if name == self.bad else {} for name in names]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"results": results}).encode())

    def log_request(self, *_: Any) -> None:
        pass


@pytest.fixture
def osv(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Osv]]:
    with HTTPServer(("127.0.0.1", 0), Osv) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OSV_URL", f"http://127.0.0.1:{server.server_port}/")
        yield Osv
        server.shutdown()


@pytest.mark.parametrize(("bad", "code"), [("dramatiq", 1), ("", 0)])
def test_an_advisory_is_named_and_fails(
    osv: type[Osv],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bad: str,
    code: int,
) -> None:
    monkeypatch.setattr(osv, "bad", bad)
    assert audit.main() == code
    said = capsys.readouterr().out
    assert ("dramatiq" in said and "GHSA-1" in said) is (code == 1)


def test_a_machine_without_a_network_is_told_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OSV_URL", f"http://127.0.0.1:{free_port()}/")
    assert audit.main() == 0
    assert capsys.readouterr().out.startswith("dependencies not audited: ")


def test_every_pin_of_the_lock_is_asked_about() -> None:
    text = audit.LOCK.read_text(encoding="utf-8")
    pins = [line for line in text.splitlines() if line[:1].isalnum()]
    assert len(audit.locked(text)) == len(pins)
