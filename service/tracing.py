"""One trace id a request, in its answer and in every line that is logged on its way."""

import re
import time
import uuid
from typing import Any, Final

import falcon
import structlog

log = structlog.get_logger(__name__)

HEADER: Final = "X-Trace-Id"
NOT_LOGGED: Final = frozenset({"/healthz"})
"""Asked every few seconds, and says nothing that the process's being there does not say."""

_TRACEPARENT: Final = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}"
    r"-[0-9a-f]{2}(?P<more>-.*)?"
)
"""https://www.w3.org/TR/trace-context/: a later version may have more fields, this one has not."""


class Tracing:
    """Middleware: binds ``trace_id`` to the log's context, and logs each request when it is over.

    The line has method, path, status and duration; never the query or the body, which may hold a
    secret or a customer's words.
    """

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take over the caller's trace, or begin one."""
        trace_id = trace_id_of(req.get_header("traceparent"))
        req.context.started = time.perf_counter()
        structlog.contextvars.bind_contextvars(trace_id=trace_id)
        resp.set_header(HEADER, trace_id)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: Any
    ) -> None:
        """Log the request, and forget its trace: the next one in this thread has its own."""
        if req.path not in NOT_LOGGED:
            log.info(
                "request",
                method=req.method,
                path=req.path,
                status=resp.status_code,
                ms=round(1000 * (time.perf_counter() - req.context.started), 1),
            )
        structlog.contextvars.unbind_contextvars("trace_id")


def trace_id_of(traceparent: str | None) -> str:
    """The trace id, 32 hex digits, of a valid ``traceparent`` header; else a new one."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or (found["version"] == "00" and found["more"]):
        return uuid.uuid4().hex
    return found["trace"]
