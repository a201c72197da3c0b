"""Carries one trace id from a customer's webhook to every call that follows from it.

A trace comes with a request (https://www.w3.org/TR/trace-context/) or begins here. The trace id
travels in the options of messages, through retries and replays, and in the headers of our calls,
whether spans are recorded or not.

Spans are recorded if OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set.
Otherwise OpenTelemetry is not imported (``mirt.observe.otlp`` does that), and a span costs no more
than a context variable. A span has names and numbers: no secret, no text of a customer, no URL.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import structlog

from mirt.observe.trace_context import SpanContext, extract, new_trace, parse_headers

if TYPE_CHECKING:
    from mirt.observe.otlp import RecordedSpan, SpanExporter

log = structlog.get_logger(__name__)

__all__ = [
    "Span",
    "SpanContext",
    "begin",
    "child_options",
    "context_of",
    "current",
    "current_context",
    "extract",
    "headers",
    "is_asked_for",
    "is_on",
    "new_options",
    "new_trace",
    "parse_headers",
    "record_span",
    "span",
    "start",
    "start_or_join",
    "stop",
]

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, Any]


def current_context() -> SpanContext | None:
    """Return the span context of this thread; None outside of any trace."""
    span = _current.get()
    return None if span is None else span.context


def context_of(trace_id: str) -> dict[str, str]:
    """Return the W3C headers of this thread's span context, if it belongs to this trace."""
    context = current_context()
    return context.context if context is not None and context.trace_id == trace_id else {}


def new_options(task: str) -> dict[str, str]:
    """Return options for a message that begins a trace of its own, with a link to its cause."""
    trace = new_trace()
    if _exporting is None:
        return trace.options
    cause = current_context()
    with begin(f"create {task}", trace, "producer") as created:
        if cause is not None:
            created.link(cause)
        return created.context.options


def child_options(task: str) -> dict[str, str]:
    """Return options for a message in the trace of this thread, or in a new one if it has none."""
    context = current_context()
    return new_options(task) if context is None else context.options


def headers() -> dict[str, str]:
    """Return the trace headers for a call to another service; none outside of any trace."""
    here = current_context()
    if here is None or not here.is_valid:
        return {}
    if here.span_id:
        return here.context
    return SpanContext(here.trace_id, os.urandom(8).hex(), here.flags, here.state).context


class Span:
    """A piece of work within a trace; ``with`` makes it the current span of this thread.

    An exception is recorded with its class, its source lines, and the text if it is our own::

        with traces.span("read prompt", attributes={"prompt": name}) as span:
            span.set_attributes({"bytes": len(prompt)})
    """

    def __init__(self, context: SpanContext, recorded: "RecordedSpan | None" = None) -> None:
        self.context = context
        self._recorded = recorded
        self._token: Token[Span | None] | None = None

    def set_attributes(self, attributes: Attributes) -> None:
        """Set attributes; those with the value None are left out."""
        if self._recorded is not None:
            self._recorded.set_attributes(attributes)

    def rename(self, name: str) -> None:
        """Change the name of the span."""
        if self._recorded is not None:
            self._recorded.rename(name)

    def link(self, other: SpanContext) -> None:
        """Link the span to a span of another trace."""
        if self._recorded is not None and other.span_id:
            self._recorded.link(other)

    def fail(self, error: BaseException | str) -> None:
        """Set the error status, with the exception or a reason."""
        if self._recorded is not None:
            self._recorded.fail(error)

    def end(self) -> None:
        """End the span. A span without an end is never sent."""
        if self._recorded is not None:
            self._recorded.end()

    def enter(self) -> None:
        """Make this the current span of this thread."""
        self._token = _current.set(self)

    def leave(self) -> None:
        """Make the span before ``enter`` the current one again."""
        if self._token is not None:
            _current.reset(self._token)
            self._token = None

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.leave()
        if error is not None:
            self.fail(error)
        self.end()


_NO_SPAN: Final = Span(SpanContext(""))
_current: ContextVar[Span | None] = ContextVar("span", default=None)
_exporting: "SpanExporter | None" = None


def current() -> Span:
    """Return the current span of this thread; outside of any trace, one that records nothing."""
    return _current.get() or _NO_SPAN


def begin(
    name: str, parent: SpanContext, kind: Kind = "internal", attributes: Attributes | None = None
) -> Span:
    """Begin a span under this parent; the caller ends it."""
    exporting = _exporting
    if exporting is None or not parent.is_valid:
        return Span(parent)
    recorded = exporting.begin(name, parent, kind, attributes or {})
    return Span(recorded.context, recorded)


@contextmanager
def span(
    name: str, kind: Kind = "internal", attributes: Attributes | None = None
) -> Iterator[Span]:
    """Record the block as a span under the current one. Outside of any trace there is no span."""
    parent = current_context()
    if parent is None or _exporting is None:
        yield _NO_SPAN
        return
    with begin(name, parent, kind, attributes) as begun:
        yield begun


@contextmanager
def start_or_join(name: str) -> Iterator[SpanContext]:
    """Yield the span context of this thread; if there is none, begin a trace with a span."""
    context = current_context()
    if context is not None:
        yield context
        return
    bound = structlog.contextvars.get_contextvars().get("trace_id")
    with begin(name, SpanContext(str(bound)) if bound else new_trace()) as begun:
        yield begun.context


def record_span(
    name: str,
    parent: SpanContext,
    started: datetime,
    ended: datetime,
    *,
    kind: Kind = "internal",
    attributes: Attributes | None = None,
) -> None:
    """Record a span that has ended already."""
    exporting = _exporting
    if exporting is not None and parent.is_valid:
        recorded = exporting.begin(name, parent, kind, attributes or {}, started=started)
        recorded.end(ended)


def start(process: str) -> None:
    """Record spans from now on, if the environment names a collector.

    Each process calls this after its fork. A collector that is down, slow or refuses costs spans,
    never a message.
    """
    global _exporting  # noqa: PLW0603 - a process has one
    if _exporting is not None or not is_asked_for(os.environ):
        return
    try:
        from mirt.observe.otlp import SpanExporter

        _exporting = SpanExporter(process)
    except Exception:
        log.exception("traces_not_exported")


def stop() -> None:
    """Send the recorded spans within a few seconds, and record no more."""
    global _exporting
    exporting, _exporting = _exporting, None
    if exporting is not None:
        exporting.stop()


def is_on() -> bool:
    """Whether spans are recorded."""
    return _exporting is not None


def is_asked_for(env: Mapping[str, str]) -> bool:
    """Whether these variables ask for spans, as OpenTelemetry defines them."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if env.get("OTEL_TRACES_EXPORTER", "").strip().lower() not in {"", "otlp"}:
        return False
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return any(env.get(name, "").strip() for name in names)
