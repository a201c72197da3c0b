"""Records spans with OpenTelemetry's SDK and sends them by OTLP; imported only if tracing is on.

The SDK reads its variables (OTEL_*) itself. Spans wait in memory, a thread of the SDK sends them in
batches, and the SDK drops spans when they become too many.
"""

import os
import socket
import threading
import traceback
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace import SpanContext as OtelSpanContext

from mirt.errors import WorkerError
from mirt.observe.secrets import redact
from mirt.observe.trace_context import SpanContext

STOP_WITHIN_S: Final = 3.0
"""Seconds that the collector has for the last spans of a process that stops."""
LONGEST_TEXT: Final = 4_000
"""Characters of an error's text, and of its traceback."""


class SpanExporter:
    """The tracer of one process. ``process`` names the kind of process in each span."""

    def __init__(self, process: str) -> None:
        ours = Resource(
            {
                "service.name": "mirt",
                "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
                "mirt.process": process,
            }
        )
        self._ids = _Ids()
        self._provider = TracerProvider(
            resource=Resource.create().merge(ours).merge(OTELResourceDetector().detect()),
            # ``stop`` shuts it down: the SDK would wait half a minute for the collector.
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("mirt")

    def begin(
        self,
        name: str,
        parent: SpanContext,
        kind: str,
        attributes: Mapping[str, Any],
        *,
        started: datetime | None = None,
    ) -> "RecordedSpan":
        """Begin a span under this parent; a parent without a span id makes it the root."""
        context = Context()
        if parent.span_id:
            context = set_span_in_context(NonRecordingSpan(_context_of(parent)), context)
        self._ids.next_trace(int(parent.trace_id, 16))
        return RecordedSpan(
            self._tracer.start_span(
                name,
                context,
                SpanKind[kind.upper()],
                _fit(attributes),
                start_time=None if started is None else _ns(started),
            )
        )

    def stop(self) -> None:
        """Send the waiting spans; those that do not leave within ``STOP_WITHIN_S`` are lost."""
        # In a thread of its own, since a request that hangs cannot be cancelled.
        stopping = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        stopping.start()
        stopping.join(STOP_WITHIN_S)


class RecordedSpan:
    """A span that is recorded and sent."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def context(self) -> SpanContext:
        """The span context, for messages and calls under this span."""
        context = self._span.get_span_context()
        return SpanContext(
            f"{context.trace_id:032x}",
            f"{context.span_id:016x}",
            f"{context.trace_flags:02x}",
            context.trace_state.to_header(),
        )

    def rename(self, name: str) -> None:
        """Change the name of the span."""
        self._span.update_name(name)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes of the span, redacted; those with the value None are left out."""
        self._span.set_attributes(_fit(attributes))

    def link(self, other: SpanContext) -> None:
        """Link the span to a span of another trace."""
        self._span.add_link(_context_of(other))

    def fail(self, error: BaseException | str) -> None:
        """Set the error status, and add the exception without texts about customers."""
        if isinstance(error, str):
            self._span.set_status(Status(StatusCode.ERROR, redact(error)[:LONGEST_TEXT]))
            return
        kind = type(error).__name__
        # The text of a foreign error may quote its input, and so may the causes of any error. So
        # only the source lines of those are recorded.
        ours = redact(str(error))[:LONGEST_TEXT] if isinstance(error, WorkerError) else ""
        lines = redact("".join(traceback.format_tb(error.__traceback__)))
        self._span.set_attribute("error.type", kind)
        self._span.add_event(
            "exception",
            {
                "exception.type": kind,
                "exception.message": ours,
                "exception.stacktrace": lines[-LONGEST_TEXT:],
            },
        )
        self._span.set_status(Status(StatusCode.ERROR, f"{kind}: {ours}" if ours else kind))

    def end(self, at: datetime | None = None) -> None:
        """End the span, now or at that time."""
        self._span.end(None if at is None else _ns(at))


class _Ids(RandomIdGenerator):
    """Generates ids; a root span gets the trace id that its trace has already."""

    def __init__(self) -> None:
        self._thread = threading.local()

    def next_trace(self, trace_id: int) -> None:
        """Set the trace id of the next root span of this thread."""
        self._thread.trace_id = trace_id

    def generate_trace_id(self) -> int:
        return int(self._thread.trace_id)

    def generate_span_id(self) -> int:
        return int.from_bytes(os.urandom(8)) or 1


def _context_of(context: SpanContext) -> OtelSpanContext:
    return OtelSpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(context.flags, 16)),
        trace_state=TraceState.from_header([context.state]) if context.state else TraceState(),
    )


def _fit(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: redact(value) if isinstance(value, str) else value
        for name, value in attributes.items()
        if value is not None
    }


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
