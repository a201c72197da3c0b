"""Answer every error as JSON: ``{"error": code, "message": what to do about it}``.

An answer shows only texts of this module and of ``PermanentError``. The texts of all other errors
go to the log only, because they may quote a customer or name our servers.
"""

import math
from collections.abc import Awaitable, Callable
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

import falcon
import falcon.asgi
import structlog

from mirt.errors import (
    ErrorCode,
    PermanentError,
    RateLimitError,
    RetryableError,
    SoftTimeLimitExceeded,
    WorkerError,
)
from mirt.observe.secrets import redact

log = structlog.get_logger(__name__)

RETRY_AFTER_S: Final = 5
"""Telegram obeys it up to an hour. A database that restarts is usually back within it."""


class Code(StrEnum):
    """Error codes of requests that are refused before their content is read."""

    INVALID_REQUEST = "INVALID_REQUEST"
    INVALID_JSON = "INVALID_JSON"
    UNAUTHORIZED = "UNAUTHORIZED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    TOO_MANY_ATTEMPTS = "TOO_MANY_ATTEMPTS"
    UNAVAILABLE = "UNAVAILABLE"


_REFUSALS: Final[dict[int, tuple[Code, str]]] = {
    401: (Code.UNAUTHORIZED, "the secret is missing or wrong"),
    403: (Code.FORBIDDEN, "this is not allowed from there"),
    404: (Code.NOT_FOUND, "there is nothing at this address"),
    405: (Code.METHOD_NOT_ALLOWED, "this address takes other methods; see Allow"),
    408: (Code.REQUEST_TIMEOUT, "the body did not come in time"),
    413: (Code.PAYLOAD_TOO_LARGE, "the body is larger than this service takes"),
    415: (Code.UNSUPPORTED_MEDIA_TYPE, "send the body as application/json"),
    429: (Code.TOO_MANY_ATTEMPTS, "too many wrong secrets came from this address; see Retry-After"),
}


def answer_errors(app: Any) -> None:
    """Register the error handlers of this module with the app."""
    # Falcon takes the handler of the closest class, in any order of registration.
    handlers: dict[type[Exception], Callable[..., None]] = {
        Exception: _unexpected,
        falcon.HTTPError: _refused,
        PermanentError: _permanent,
        RetryableError: _unavailable,
        SoftTimeLimitExceeded: _unavailable,
    }
    for error, handler in handlers.items():
        is_async = isinstance(app, falcon.asgi.App)
        app.add_error_handler(error, _on_the_loop(handler) if is_async else handler)


def _on_the_loop(handler: Callable[..., None]) -> Callable[..., Awaitable[None]]:
    async def handle(req: Any, resp: Any, error: Any, params: Any) -> None:
        handler(req, resp, error, params)

    return handle


def unavailable(resp: falcon.Response, message: str, *, retry_after: float = RETRY_AFTER_S) -> None:
    """Answer 503: the same request may succeed ``retry_after`` seconds from now."""
    resp.set_header("Retry-After", str(max(1, math.ceil(retry_after))))
    _answer(resp, HTTPStatus.SERVICE_UNAVAILABLE, Code.UNAVAILABLE, message)


def _refused(
    _req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: Any
) -> None:
    status = error.status_code
    code, message = _REFUSALS.get(
        status, (Code.INVALID_REQUEST, error.description or HTTPStatus(status).phrase)
    )
    if error.headers is not None:
        resp.set_headers(error.headers)
    _answer(resp, status, code, message)


def _permanent(
    _req: falcon.Request, resp: falcon.Response, error: PermanentError, _params: Any
) -> None:
    code = error.error_code or ErrorCode.INVALID_INPUT
    _answer(resp, HTTPStatus.BAD_REQUEST, code, error.message)


def _unavailable(
    _req: falcon.Request, resp: falcon.Response, error: WorkerError, _params: Any
) -> None:
    log.warning("unavailable", error=type(error).__name__, why=error.message)
    wait = error.retry_after if isinstance(error, RateLimitError) else RETRY_AFTER_S
    unavailable(resp, "not accepted; send it again", retry_after=wait)


def _unexpected(
    _req: falcon.Request, resp: falcon.Response, error: Exception, _params: Any
) -> None:
    log.error("unexpected", error=type(error).__name__, exc_info=error)
    trace_id = structlog.contextvars.get_contextvars().get("trace_id")
    message = f"something went wrong here; it is logged with the trace id {trace_id}"
    _answer(resp, HTTPStatus.INTERNAL_SERVER_ERROR, ErrorCode.UNEXPECTED, message)


def _answer(resp: falcon.Response, status: int, code: str, message: str) -> None:
    resp.status = status
    # Drop what the resource had set before it failed.
    resp.text = resp.data = None
    resp.media = {"error": str(code), "message": redact(message)}
