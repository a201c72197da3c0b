"""Log, trace and measure each request: its trace id is in the answer and in every log line."""

import logging
import time
from typing import Any, Final

import falcon
import structlog

from mirt.observe import metrics, traces

log = structlog.get_logger(__name__)

HEADER: Final = "X-Trace-Id"
NOT_LOGGED: Final = frozenset({"/healthz"})
"""Requested every few seconds; that the process runs says as much."""
REFRESH: Final = "X-Refresh"
"""Header of an open page that refreshes itself every two seconds."""


class RequestLog:
    """Middleware: binds ``trace_id`` to the log context and logs each request when it is over.

    The line has method, path, status and duration in ms. The span has the route instead of the
    path. Neither has the query or the body, which may hold a secret or a customer's words. The
    refresh of an open page is logged at DEBUG, unless it fails.
    """

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Start a trace, linked to the one that the caller names. ``join_caller`` continues that.

        Not yet here: a stranger could write lines into the trace of another caller.
        """
        req.context.started = time.perf_counter()
        req.context.caller = caller = traces.parse_headers(
            req.get_header("traceparent"), req.get_header("tracestate")
        )
        _begin(req, resp, traces.new_trace())
        if caller is not None:
            req.context.span.link(caller)

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: Any
    ) -> None:
        """Log the request and clear its trace id: the next request in this thread has its own."""
        if req.path not in NOT_LOGGED:
            is_refresh = req.get_header(REFRESH) is not None and resp.status_code < 400
            log.log(
                logging.DEBUG if is_refresh else logging.INFO,
                "request",
                # Named here too: a task that ran in this thread has cleared what was bound.
                trace_id=req.context.span.context.trace_id,
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

    async def process_request_async(self, req: Any, resp: Any) -> None:
        """Do as ``process_request``, on the event loop."""
        self.process_request(req, resp)

    async def process_response_async(
        self, req: Any, resp: Any, resource: object, succeeded: Any
    ) -> None:
        """Do as ``process_response``, on the event loop."""
        self.process_response(req, resp, resource, succeeded)


def join_caller(req: Any, resp: Any) -> None:
    """Continue the trace that the caller of this request names, if it names one.

    Call it when the caller is authenticated, and before anything is stored or logged.
    """
    if req.context.caller is not None:
        # The span of the other trace has no end, so it is never sent.
        req.context.span.leave()
        _begin(req, resp, req.context.caller)


def _begin(req: Any, resp: Any, parent: traces.SpanContext) -> None:
    if req.path in NOT_LOGGED:
        req.context.span = traces.Span(parent)
    else:
        about = {"http.request.method": req.method}
        req.context.span = traces.begin(req.method, parent, "server", about)
    req.context.span.enter()
    structlog.contextvars.bind_contextvars(trace_id=parent.trace_id)
    resp.set_header(HEADER, parent.trace_id)


NO_ROUTE: Final = "none"
"""Label of requests without a route. Paths from outside are unbounded, so they are no labels."""


class RequestMetrics:
    """Middleware: measures each request. Register it first, so that it times the others too."""

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Remember when the request began, in seconds of ``perf_counter``."""
        req.context.began = time.perf_counter()

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: Any
    ) -> None:
        """Observe the duration of the request, by route and status."""
        metrics.HTTP_SECONDS.observe(
            time.perf_counter() - req.context.began,
            route=req.uri_template or NO_ROUTE,
            status=str(resp.status_code),
        )

    async def process_request_async(self, req: Any, resp: Any) -> None:
        """Do as ``process_request``, on the event loop."""
        self.process_request(req, resp)

    async def process_response_async(
        self, req: Any, resp: Any, resource: object, succeeded: Any
    ) -> None:
        """Do as ``process_response``, on the event loop."""
        self.process_response(req, resp, resource, succeeded)
