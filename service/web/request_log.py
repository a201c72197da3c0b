"""One trace a request: in its answer, in every line that is logged on its way, and as a span."""

import logging
import time
from typing import Any, Final

import falcon
import structlog

from mirt.observe import metrics, traces

log = structlog.get_logger(__name__)

HEADER: Final = "X-Trace-Id"
NOT_LOGGED: Final = frozenset({"/healthz"})
"""Asked every few seconds, and says nothing that the process's being there does not say."""
REFRESH: Final = "X-Refresh"
"""Sent by a page that is open and asks for itself again, every two seconds."""


class RequestLog:
    """Middleware: binds ``trace_id`` to the log's context, and logs each request when it is over.

    The line has method, path, status and duration, the span the route instead of the path; never
    the query or the body, which may hold a secret or a customer's words. What an open page asks
    for again is of interest to nobody, unless it fails.
    """

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take over the caller's trace, or begin one."""
        caller = traces.parse_headers(req.get_header("traceparent"), req.get_header("tracestate"))
        place = caller or traces.new_trace()
        req.context.started = time.perf_counter()
        if req.path in NOT_LOGGED:
            req.context.span = traces.Span(place)
        else:
            about = {"http.request.method": req.method}
            req.context.span = traces.begin(req.method, place, "server", about)
        req.context.span.enter()
        structlog.contextvars.bind_contextvars(trace_id=place.trace_id)
        resp.set_header(HEADER, place.trace_id)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: Any
    ) -> None:
        """Log the request, and forget its trace: the next one in this thread has its own."""
        if req.path not in NOT_LOGGED:
            again = req.get_header(REFRESH) is not None and resp.status_code < 400
            log.log(
                logging.DEBUG if again else logging.INFO,
                "request",
                method=req.method,
                path=req.path,
                status=resp.status_code,
                ms=round(1000 * (time.perf_counter() - req.context.started), 1),
            )
        structlog.contextvars.unbind_contextvars("trace_id")
        span: traces.Span = req.context.span
        span.leave()
        route = req.uri_template or ""
        span.rename(f"{req.method} {route}".rstrip())
        span.set_attributes(
            {"http.route": route or None, "http.response.status_code": resp.status_code}
        )
        if resp.status_code >= 500:
            span.fail(f"answered {resp.status_code}")
        span.end()


NOWHERE: Final = "none"
"""The route of an address that there is not: addresses are anybody's words."""


class Measuring:
    """Middleware: outermost, so that it measures the others too."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Start the clock."""
        req.context.began = time.perf_counter()

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: Any
    ) -> None:
        """Stop it."""
        metrics.HTTP_SECONDS.observe(
            time.perf_counter() - req.context.began,
            route=req.uri_template or NOWHERE,
            status=str(resp.status_code),
        )
