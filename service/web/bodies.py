"""The body of a request: read up to a limit, and understood, or refused with a reason."""

import json
from typing import Any, Final, NoReturn
from urllib.parse import parse_qs

import falcon
import orjson
from gunicorn.http.errors import ParseException

from mirt.errors import ErrorCode, PermanentError
from service.web.errors import Code

LONGEST_BODY: Final = 64 * 1024
"""Bytes. A Telegram update with a text of full length has less than 20,000."""
MOST_FIELDS: Final = 1000


def read_json(req: falcon.Request) -> object:
    """The JSON of a request, of which at most ``LONGEST_BODY`` + 1 bytes are read.

    Falcon's own ``req.media`` takes a chunked body for an empty one and knows no limit.

    Raises:
        falcon.HTTPUnsupportedMediaType: it says that it is something else.
        falcon.HTTPContentTooLarge: it is larger than the limit.
        PermanentError: ``INVALID_JSON``.
    """
    media_type, _ = falcon.parse_header(req.content_type or falcon.MEDIA_JSON)
    if media_type.lower() != falcon.MEDIA_JSON:
        raise falcon.HTTPUnsupportedMediaType
    return _parsed(_read(req))


def read_form(req: falcon.Request) -> dict[str, list[str]]:
    """The fields of an HTML form, with all the values that each has; read as a JSON is.

    Raises:
        falcon.HTTPUnsupportedMediaType: it says that it is something else.
        falcon.HTTPContentTooLarge: it is larger than the limit.
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
    registry = req.content_length
    if registry is None and not req.env.get("wsgi.input_terminated"):
        return b""  # such a server has no end of the body to show: reading would wait for ever
    if registry is not None and registry > LONGEST_BODY:
        raise falcon.HTTPContentTooLarge
    try:
        body: bytes = req.stream.read(LONGEST_BODY + 1 if registry is None else registry)
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
        # What orjson refuses and a flow that cuts its texts sends: half of a surrogate pair.
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
