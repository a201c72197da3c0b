"""Reads and writes span contexts, as HTTP headers and messages carry them.

https://www.w3.org/TR/trace-context/
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

LONGEST_STATE: Final = 512
"""Characters of ``tracestate`` that are passed on."""
_TRACEPARENT: Final = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
"""A later version of the header may have more fields; version 00 has none."""
_MEMBER: Final = re.compile(
    r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class SpanContext:
    """The position of a span in its trace, for the spans under it.

    Without ``span_id`` no span was recorded yet. ``flags`` and ``state`` are as they came.
    """

    trace_id: str
    span_id: str = ""
    flags: str = "00"
    state: str = ""

    @property
    def is_valid(self) -> bool:
        """Whether the trace id is one by the W3C rules, so that other services accept it."""
        return _TRACE_ID.fullmatch(self.trace_id) is not None

    @property
    def context(self) -> dict[str, str]:
        """The W3C headers of this context; none if it has no span."""
        if not self.span_id:
            return {}
        state = {"tracestate": self.state} if self.state else {}
        return {"traceparent": f"00-{self.trace_id}-{self.span_id}-{self.flags}", **state}

    @property
    def options(self) -> dict[str, str]:
        """The options of a message that carry this context."""
        return {"trace_id": self.trace_id, **self.context}


def new_trace() -> SpanContext:
    """Begin a trace. All bits of its id are random, as samplers expect."""
    return SpanContext(os.urandom(16).hex())


def parse_headers(traceparent: str | None, tracestate: str | None = None) -> SpanContext | None:
    """Return the span context of a caller's headers; None if they are not valid."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    return SpanContext(found["trace"], found["span"], found["flags"], _valid_state(tracestate))


def extract(options: Mapping[str, Any], task_id: str) -> SpanContext:
    """Return the span context that the options of a message carry.

    A message without one, from another sender, gets a trace id that follows from its task id, so
    all attempts have the same.
    """
    trace_id = options.get("trace_id")
    found = parse_headers(options.get("traceparent"), options.get("tracestate"))
    if found is not None and trace_id in (None, found.trace_id):
        return found
    return SpanContext(str(trace_id or hashlib.sha256(task_id.encode()).hexdigest()[:32]))


def _valid_state(tracestate: str | None) -> str:
    """Return the list of vendors as it came; empty if it is invalid or too long."""
    members = [member.strip(" \t") for member in (tracestate or "").split(",")]
    kept = [member for member in members if member]
    names = {member.partition("=")[0] for member in kept}
    written = ",".join(kept)
    is_valid = len(kept) <= 32 and len(names) == len(kept) and len(written) <= LONGEST_STATE
    return written if is_valid and all(map(_MEMBER.fullmatch, kept)) else ""
