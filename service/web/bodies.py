"""Read and parse the body of a request, up to a limit, or refuse it with a reason."""

import asyncio
import json
from contextlib import suppress
from typing import Any, Final, NoReturn
from urllib.parse import parse_qs

import falcon
import falcon.asgi
import orjson
from gunicorn.http.errors import ParseException

from mirt.errors import ErrorCode, PermanentError
from service.web.errors import Code

LONGEST_BODY: Final = 64 * 1024
"""Bytes of a request of ours."""
LONGEST_EVENT: Final = 256 * 1024
"""Bytes of the event of a platform. Telegram writes a Cyrillic letter in six bytes: a text of 4,096
letters that replies to another one has over 70,000, and links and formats come on top."""
_HEAD: Final = 4 * 1024
_MOST_DRAINED: Final = 4 * 1024 * 1024
_CHUNK: Final = 64 * 1024
BODY_WITHIN_S: Final = 15.0
"""Seconds in which a whole body must have come."""
MOST_FIELDS: Final = 1000


class BodyTooLargeError(falcon.HTTPContentTooLarge):
    """A body over the limit. ``head`` has its first bytes, if they were read."""

    def __init__(self, head: bytes = b"") -> None:
        super().__init__()
        self.head = head


def read_json(req: falcon.Request) -> object:
    """Return the parsed JSON body; reads at most ``LONGEST_BODY`` + 1 bytes.

    Falcon's ``req.media`` takes a chunked body for an empty one and has no limit.

    Raises:
        falcon.HTTPUnsupportedMediaType: Content-Type is not JSON.
        falcon.HTTPContentTooLarge: the body is larger than the limit.
        PermanentError: ``INVALID_JSON``.
    """
    _check_json(req)
    return _parsed(_read(req))


async def read_event(req: "falcon.asgi.Request") -> object:
    """Return the parsed JSON body of at most ``LONGEST_EVENT`` bytes, on the event loop.

    Raises:
        falcon.HTTPUnsupportedMediaType: Content-Type is not JSON.
        falcon.HTTPError: 408, the body has not come within ``BODY_WITHIN_S``.
        BodyTooLargeError: the body is larger than the limit.
        PermanentError: ``INVALID_JSON``.
    """
    _check_json(req)
    if req.content_length is not None and req.content_length > LONGEST_EVENT:
        raise BodyTooLargeError
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            body = await req.stream.read(LONGEST_EVENT + 1)
    except TimeoutError:
        raise falcon.HTTPError(falcon.HTTP_408) from None
    if len(body) > LONGEST_EVENT:
        raise BodyTooLargeError(body[:_HEAD])
    if req.content_length is not None and len(body) < req.content_length:
        _refuse("the body broke off, or its chunks are malformed")
    return _parsed(body)


async def drain(req: "falcon.asgi.Request", refused: BodyTooLargeError) -> bytes:
    """Read and drop the rest of a body that is too large; return its first bytes.

    A connection that is closed with an unread body may lose the answer. At most 4 MiB are read, for
    at most ``BODY_WITHIN_S``.
    """
    head, left = refused.head, _MOST_DRAINED
    with suppress(TimeoutError):
        async with asyncio.timeout(BODY_WITHIN_S):
            while left > 0 and (chunk := await req.stream.read(min(_CHUNK, left))):
                head += chunk[: max(0, _HEAD - len(head))]
                left -= len(chunk)
    return head


def _check_json(req: "falcon.Request | falcon.asgi.Request") -> None:
    # A page of another site may send a body without a type, and its browser asks us nothing first.
    without_type = "" if req.get_header("Origin") else falcon.MEDIA_JSON
    media_type, _ = falcon.parse_header(req.content_type or without_type)
    if media_type.lower() != falcon.MEDIA_JSON:
        raise falcon.HTTPUnsupportedMediaType


def read_form(req: falcon.Request) -> dict[str, list[str]]:
    """Return all values of each field of an HTML form; limited as ``read_json``.

    Raises:
        falcon.HTTPUnsupportedMediaType: Content-Type is not that of a form.
        falcon.HTTPContentTooLarge: the body is larger than the limit.
        PermanentError: ``INVALID_INPUT``.
    """
    media_type, _ = falcon.parse_header(req.content_type or falcon.MEDIA_URLENCODED)
    if media_type.lower() != falcon.MEDIA_URLENCODED:
        raise falcon.HTTPUnsupportedMediaType
    try:
        body = _read(req).decode("ascii")
        return parse_qs(body, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise PermanentError("the form is malformed", ErrorCode.INVALID_INPUT) from None


def _read(req: falcon.Request) -> bytes:
    content_length = req.content_length
    if content_length is None and not req.env.get("wsgi.input_terminated"):
        return b""  # the server marks no end of the body: reading would block for ever
    if content_length is not None and content_length > LONGEST_BODY:
        raise falcon.HTTPContentTooLarge
    try:
        body: bytes = req.stream.read(
            LONGEST_BODY + 1 if content_length is None else content_length
        )
    except (OSError, ParseException):
        _refuse("the body broke off, or its chunks are malformed")
    if len(body) > LONGEST_BODY:
        raise falcon.HTTPContentTooLarge
    return body


def _parsed(body: bytes) -> object:
    if not body.strip():
        _refuse("the body is empty")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as refused:
        where = f"line {refused.lineno}, column {refused.colno}"
    try:
        # ManyChat flows cut texts and send half a surrogate pair. orjson refuses it, json reads it.
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        _refuse("the body is not UTF-8")
    except RecursionError:
        _refuse("the body is nested too deeply")
    except ValueError:
        _refuse(f"the body is not JSON ({where})")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _refuse(why: str) -> NoReturn:
    raise PermanentError(why, Code.INVALID_JSON)
