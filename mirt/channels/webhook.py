"""Read the webhooks of all channels: the secret in a header, and the JSON."""

import hmac
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from mirt.channels.splitting import well_formed
from mirt.errors import ErrorCode, PermanentError
from mirt.tokens import accepted

Text = Annotated[
    str, BeforeValidator(lambda value: well_formed(value) if isinstance(value, str) else value)
]
"""Text without the characters that a database cannot store."""

LONGEST_NAME: Final = 100
"""Characters that are kept of a customer's name. The database has an index of names."""
LONGEST_TEXT: Final = 8_000
"""Most characters of one message, and of all messages that one turn answers together."""

Name = Annotated[Text, BeforeValidator(lambda value: clipped(value, LONGEST_NAME))]
"""Name of a customer, without line breaks, cut to ``LONGEST_NAME``."""

Id = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""Id that is a signed 64-bit number."""


class Payload(BaseModel):
    """A part of the JSON of a webhook. No type is converted; unknown fields are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, hide_input_in_errors=True)


_EVENT_ID: Final = re.compile(rb'"(?:update_id|event_id)"\s*:\s*"?([\w-]{1,64})')
_MOST_NAMED = 50  # so that a list of a million wrong items makes no endless error text
_P = TypeVar("_P", bound=Payload)


def read_payload(shape: type[_P], payload: object) -> _P:
    """Validate ``payload`` as ``shape``.

    Raises:
        PermanentError: ``INVALID_INPUT``, naming the wrong fields (at most 50) and no value.
    """
    try:
        return shape.model_validate(payload)
    except ValidationError as refused:
        errors = refused.errors(include_input=False, include_context=False, include_url=False)
    raise invalid([_problem(error) for error in errors[:_MOST_NAMED]])


def read_if_valid(shape: type[_P], value: object) -> _P | None:
    """Return ``value`` as ``shape``; None if it is not one.

    For what a message can do without: a wrong detail must not cost the message.
    """
    try:
        return shape.model_validate(value)
    except ValidationError:
        return None


def event_id(head: bytes) -> str | None:
    """Return the id of an event from the first bytes of its JSON; None if it is not there."""
    found = _EVENT_ID.search(head)
    return found[1].decode() if found else None


def clipped(value: Any, longest: int) -> Any:
    """Return a text in one line of at most ``longest`` characters; any other value unchanged."""
    if not isinstance(value, str):
        return value
    line = " ".join(value.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def invalid(problems: list[str]) -> PermanentError:
    """Return the error for a payload with these problems, each one ``field: reason``."""
    return PermanentError("; ".join(problems), ErrorCode.INVALID_INPUT)


def header(headers: Mapping[str, str], name: str) -> str:
    """Return the value of a header, with the name in any case; empty if there is none."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), "")


def same_secret(given: str, secret: SecretStr) -> bool:
    """Compare with every accepted value, in constant time. An empty secret equals nothing."""
    bytes_given = given.encode(errors="surrogatepass")
    same = [
        hmac.compare_digest(bytes_given, one.get_secret_value().encode(errors="surrogatepass"))
        for one in accepted(secret)
    ]
    return any(same)


def present(**values: Any) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def _problem(error: ErrorDetails) -> str:
    path = ".".join(map(str, error["loc"])) or "payload"
    is_no_object = error["type"] == "model_type"  # pydantic's text would name our class
    return f"{path}: {'Input should be an object' if is_no_object else error['msg']}"
