"""Read and parse the body of a request, up to a limit, or refuse it with a reason."""

import asyncio
import json
from typing import Any, Final, NoReturn
from urllib.parse import parse_qs

import falcon
import falcon.asgi
import orjson
from gunicorn.http.errors import ParseException

from mirt.errors import ErrorCode, PermanentError
from service.web.errors import Code

LONGEST_BODY: Final = 64 * 1024
"""Bytes. A Telegram update with the longest possible text has less than 20,000."""
BODY_WITHIN_S: Final = 15.0
"""Seconds in which a whole body must have come."""
MOST_FIELDS: Final = 1000


def read_json(req: falcon.Request) -> object:
    """Return the parsed JSON body; reads at most ``LONGEST_BODY`` + 1 bytes.

    Falcon's ``req.media`` takes a chunked body for an empty one and has no limit.

    Raises:
        falcon.HTTPUnsupportedMediaType: Content-Type is not JSON.
        falcon.HTTPContentTooLarge: the body is larger than the limit.
        PermanentError: ``INVALID_JSON``.
    """
    _check_json(req.content_type)
    return _parsed(_read(req))


async def read_json_async(req: "falcon.asgi.Request") -> object:
    """Return the parsed JSON body, as ``read_json``, on the event loop.

    Raises:
        falcon.HTTPError: 408, the body has not come within ``BODY_WITHIN_S``; and as ``read_json``.
        PermanentError: ``INVALID_JSON``.
    """
    _check_json(req.content_type)
    if req.content_length is not None and req.content_length > LONGEST_BODY:
        raise falcon.HTTPContentTooLarge
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            body = await req.stream.read(LONGEST_BODY + 1)
    except TimeoutError:
        raise falcon.HTTPError(falcon.HTTP_408) from None
    if len(body) > LONGEST_BODY:
        raise falcon.HTTPContentTooLarge
    if req.content_length is not None and len(body) < req.content_length:
        _refuse("the body broke off, or its chunks are malformed")
    return _parsed(body)


def _check_json(content_type: str | None) -> None:
    media_type, _ = falcon.parse_header(content_type or falcon.MEDIA_JSON)
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
