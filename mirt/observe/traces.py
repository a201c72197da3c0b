"""Traces: one trace id from the customer's webhook to every call that it leads to.

A trace comes with a request (https://www.w3.org/TR/trace-context/) or begins here. It travels in
the options of messages, through retries and replays, and in the headers of the calls that we make,
whether anybody collects spans or not.

Spans are recorded when OTEL_EXPORTER_OTLP_ENDPOINT, or the same of the traces, is set; until then
nothing of OpenTelemetry is even imported (``mirt.observe.otlp`` does that), and a span costs no
more than a context variable. A span holds names and numbers: no secret, no text of a customer, no
URL.
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
    """The place where this thread works; None outside of any trace."""
    span = _current.get()
    return None if span is None else span.trace


def context_of(trace_id: str) -> dict[str, str]:
    """The W3C headers of the place where this thread works, if that is in this trace."""
    place = current_context()
    return place.context if place is not None and place.trace_id == trace_id else {}


def new_options(task: str) -> dict[str, str]:
    """The options of a message that begins a trace of its own; what leads to it is linked."""
    trace = new_trace()
    if _exporting is None:
        return trace.options
    cause = current_context()
    with begin(f"create {task}", trace, "producer") as one:
        if cause is not None:
            one.link(cause)
        return one.trace.options


def child_options(task: str) -> dict[str, str]:
    """The options of a message that belongs to what this thread does, or begins a trace."""
    place = current_context()
    return new_options(task) if place is None else place.options


def headers() -> dict[str, str]:
    """What a call to somebody else carries of the trace; nothing outside of any."""
    place = current_context()
    if place is None or not place.is_valid:
        return {}
    if place.span_id:
        return place.context
    return SpanContext(place.trace_id, os.urandom(8).hex(), place.flags, place.state).context


class Span:
    """A piece of work within a trace: ``with`` makes it the place where this thread works.

    What it raises is noted: its class, the text of errors of our own, and where it happened.
    """

    def __init__(self, trace: SpanContext, recorded: "RecordedSpan | None" = None) -> None:
        self.trace = trace
        self._recorded = recorded
        self._token: Token[Span | None] | None = None

    def set_attributes(self, attributes: Attributes) -> None:
        """Say something of it."""
        if self._recorded is not None:
            self._recorded.set_attributes(attributes)

    def rename(self, name: str) -> None:
        """Give it a name that is only known now."""
        if self._recorded is not None:
            self._recorded.rename(name)

    def link(self, other: SpanContext) -> None:
        """Say that it works for another trace too."""
        if self._recorded is not None and other.span_id:
            self._recorded.link(other)

    def fail(self, error: BaseException | str) -> None:
        """Say that it has failed, and by what."""
        if self._recorded is not None:
            self._recorded.fail(error)

    def end(self) -> None:
        """It is over; one that is not ended is seen by nobody."""
        if self._recorded is not None:
            self._recorded.end()

    def enter(self) -> None:
        """Let it be the place where this thread works."""
        self._token = _current.set(self)

    def leave(self) -> None:
        """Go back to where the thread was before."""
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


_NOWHERE: Final = Span(SpanContext(""))
_current: ContextVar[Span | None] = ContextVar("span", default=None)
_exporting: "SpanExporter | None" = None


def current() -> Span:
    """The span in which this thread works; outside of any, one that takes no notice."""
    return _current.get() or _NOWHERE


def begin(
    name: str, place: SpanContext, kind: Kind = "internal", attributes: Attributes | None = None
) -> Span:
    """Begin a span under this place; the caller ends it."""
    exporting = _exporting
    if exporting is None or not place.is_valid:
        return Span(place)
    recorded = exporting.begin(name, place, kind, attributes or {})
    return Span(recorded.place, recorded)


@contextmanager
def span(
    name: str, kind: Kind = "internal", attributes: Attributes | None = None
) -> Iterator[Span]:
    """A span of what is done inside, under the one in which this thread works.

    Outside of any trace there is nothing to be under, and no span.
    """
    place = current_context()
    if place is None or _exporting is None:
        yield _NOWHERE
        return
    with begin(name, place, kind, attributes) as one:
        yield one


@contextmanager
def start_or_join(name: str) -> Iterator[SpanContext]:
    """The trace of this thread; where there is none, one that begins here with a span."""
    place = current_context()
    if place is not None:
        yield place
        return
    bound = structlog.contextvars.get_contextvars().get("trace_id")
    with begin(name, SpanContext(str(bound)) if bound else new_trace()) as one:
        yield one.trace


def record_span(
    name: str,
    place: SpanContext,
    started: datetime,
    ended: datetime,
    *,
    kind: Kind = "internal",
    attributes: Attributes | None = None,
) -> None:
    """Record a span of what is over."""
    exporting = _exporting
    if exporting is not None and place.is_valid:
        recorded = exporting.begin(name, place, kind, attributes or {}, started=started)
        recorded.end(ended)


def start(process: str) -> None:
    """Record spans from now on, if the environment names a collector.

    Called in each process after the fork that made it. A collector that is down, slow or refuses
    costs spans, and never a message.
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
    """Send what is recorded, within a few seconds, and record no more."""
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
