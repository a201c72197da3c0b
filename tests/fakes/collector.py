"""A collector of traces: takes spans by OTLP over HTTP, or is as ill as a test wants."""

import gzip
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan


@dataclass(frozen=True, slots=True)
class CollectedSpan:
    """A span as it came; ids in hex, the parent's empty for a root."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    links: Sequence[tuple[str, str]]
    failed: bool
    said: str
    """Its events and the text of its status, for looking for words in them."""
    started: datetime
    ended: datetime
    state: str


@dataclass
class Collector:
    """A collector of spans. It answers with ``status``; while ``held``, it answers nothing."""

    url: str
    status: int = 200
    held: threading.Event = field(default_factory=threading.Event)
    spans: list[CollectedSpan] = field(default_factory=list)
    requests: list[Mapping[str, str]] = field(default_factory=list)
    """The headers of each request, names in lower case."""
    bodies: list[bytes] = field(default_factory=list)

    def of(self, trace_id: str) -> list[CollectedSpan]:
        """The spans of a trace, in the order in which they began."""
        found = [span for span in list(self.spans) if span.trace_id == trace_id]
        return sorted(found, key=lambda span: span.started)

    def take(self, headers: Mapping[str, str], content: bytes) -> int:
        """Take a request; the status to answer."""
        self.requests.append({name.lower(): value for name, value in headers.items()})
        body = gzip.decompress(content) if headers.get("Content-Encoding") == "gzip" else content
        self.bodies.append(body)
        if self.status == 200:
            sent = ExportTraceServiceRequest.FromString(body)
            for of_process in sent.resource_spans:
                resource = _values(of_process.resource.attributes)
                for scope in of_process.scope_spans:
                    self.spans += [_collected(span, resource) for span in scope.spans]
        return self.status


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            while here.held.is_set() and not gone.wait(0.02):
                pass
            status = here.take(dict(self.headers), content)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Ignore the disconnect of a caller."""

    gone = threading.Event()
    with Server(("127.0.0.1", 0), Handler) as server:
        here = Collector(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield here
        gone.set()
        server.shutdown()


def _collected(span: WireSpan, resource: Mapping[str, Any]) -> CollectedSpan:
    events = [f"{event.name} {_values(event.attributes)}" for event in span.events]
    return CollectedSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        attributes=_values(span.attributes),
        resource=resource,
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        failed=span.status.code == 2,
        said=" ".join([*events, span.status.message]),
        started=datetime.fromtimestamp(span.start_time_unix_nano / 1e9, UTC),
        ended=datetime.fromtimestamp(span.end_time_unix_nano / 1e9, UTC),
        state=span.trace_state,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in attributes}
