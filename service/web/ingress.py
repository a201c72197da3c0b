"""The ASGI application: webhooks and liveness on the event loop, everything else in threads.

A client that is slow or silent holds a coroutine and no thread. Pages, metrics, readiness and task
requests get a thread of their own pool, with their whole body, so nothing of them delays a webhook.
"""

import asyncio
import re
from collections.abc import Collection
from typing import Any, Final

import falcon.asgi
import orjson
import structlog
from a2wsgi import WSGIMiddleware

from mirt.observe import traces
from service.web.bodies import BODY_WITHIN_S, LONGEST_BODY
from service.web.errors import Code
from service.web.loopback import LoopbackGuard
from service.web.request_log import HEADER

log = structlog.get_logger(__name__)

THREADS: Final = 8
"""Requests of pages, metrics, readiness and tasks that are answered at the same moment."""


TOO_LARGE: Final = "the body is larger than this service takes"
_NOT_ASCII: Final = re.compile(rb"[\x80-\xff]")


class IngressApp(falcon.asgi.App):  # type: ignore[type-arg]
    """Answers some paths itself, and passes all others to a WSGI application in threads."""

    in_threads: Any
    """The WSGI application."""
    _others: WSGIMiddleware
    _own: Collection[str]
    _guard: LoopbackGuard | None = None
    _ops_port: int | None = None

    def pass_others(
        self, others: Any, *, own: Collection[str], ops_port: int | None = None
    ) -> None:
        """Pass every path that is not in ``own`` to ``others``; with ``ops_port`` there only."""
        self._ops_port = ops_port
        self.in_threads = others
        self._others = WSGIMiddleware(others, workers=THREADS)
        self._own = own

    def refuse_foreign(self, guard: LoopbackGuard) -> None:
        """Answer 403 to requests that do not come from this machine."""
        self._guard = guard

    async def __call__(  # type: ignore[override]
        self, scope: Any, receive: Any, send: Any
    ) -> None:
        """Answer a request, or pass it on with its whole body."""
        if scope["type"] == "http":
            # ASGI allows iterators, and several readers follow.
            scope["headers"] = [(name, value) for name, value in scope["headers"]]
            scope["server"] = tuple(scope.get("server") or ("", None))
            if refused := self._refusal_of(scope):
                await _refuse(send, *refused)
                return
        if scope["type"] != "http" or scope["path"] in self._own:
            await super().__call__(scope, receive, send)
            return
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                body = await _read_body(receive)
        except TimeoutError:
            await _refuse(send, 408, Code.REQUEST_TIMEOUT, "the body did not come in time")
            return
        if body is None:
            await _refuse(send, 413, Code.PAYLOAD_TOO_LARGE, TOO_LARGE)
            return
        await self._others(_as_read(scope, len(body)), _receiving(body), send)

    def _refusal_of(self, scope: Any) -> tuple[int, Code, str] | None:
        """Return the answer to a request that is refused by its head alone."""
        path = scope["path"]
        if self._guard and (why := self._guard.refusal_of(scope)):
            log.warning("foreign_request_refused", path=path, why=why)
            return 403, Code.FORBIDDEN, f"mirt up serves its own machine: {why}"
        if path in self._own:
            return None
        is_elsewhere = self._ops_port is not None and scope["server"][1] != self._ops_port
        # Routes ignore leading slashes, and a proxy that denies a path by its text does not.
        if is_elsewhere or path.startswith("//"):
            return 404, Code.NOT_FOUND, "there is nothing at this address"
        if _declared_length(scope) > LONGEST_BODY:
            return 413, Code.PAYLOAD_TOO_LARGE, TOO_LARGE
        return None


def _declared_length(scope: Any) -> int:
    # The server has refused a length that is no number.
    return int(dict(scope["headers"]).get(b"content-length", b"0"))


async def _read_body(receive: Any) -> bytes | None:
    """Return the whole body; None if it is too large. What has come of a broken one counts."""
    body = bytearray()
    while True:
        event = await receive()
        body += event.get("body", b"")
        if len(body) > LONGEST_BODY:
            return None
        if event["type"] != "http.request" or not event.get("more_body"):
            return bytes(body)


def _as_read(scope: Any, length: int) -> Any:
    """Return the scope of a request whose body was read.

    It has the length of the body, which a chunked one does not say. Bytes of the query that should
    have been escaped are escaped: WSGI knows only ASCII there.
    """
    left_out = (b"content-length", b"transfer-encoding")
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in left_out]
    return {
        **scope,
        "headers": [*headers, (b"content-length", str(length).encode())],
        "query_string": _NOT_ASCII.sub(lambda byte: b"%%%02X" % byte[0][0], scope["query_string"]),
    }


def _receiving(body: bytes) -> Any:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _refuse(send: Any, status: int, code: str, message: str) -> None:
    _, headers, content = refusal(status, code, message)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def refusal(status: int, code: str, message: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return status, headers and body of an error that is answered before a route is found."""
    content = orjson.dumps({"error": str(code), "message": message})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),
        (HEADER.lower().encode(), traces.new_trace().trace_id.encode()),
    ]
    return status, headers, content
