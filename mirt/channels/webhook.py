"""What the webhooks of all channels have in common: a secret in a header, and a JSON to read."""

import hmac
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from mirt.channels.splitting import well_formed
from mirt.errors import ErrorCode, PermanentError

Text = Annotated[
    str, BeforeValidator(lambda value: well_formed(value) if isinstance(value, str) else value)
]
"""A text as a database can keep it."""

Id = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""A number that names something."""


class Payload(BaseModel):
    """A part of a webhook's JSON: no type is converted to another, and what is unknown ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, hide_input_in_errors=True)


_MOST_NAMED = 50  # a list of a million wrong items is one mistake
_P = TypeVar("_P", bound=Payload)


def read_payload(shape: type[_P], payload: object) -> _P:
    """Read ``payload`` as ``shape``.

    Raises:
        PermanentError: ``INVALID_INPUT``, naming every wrong field and showing no value.
    """
    try:
        return shape.model_validate(payload)
    except ValidationError as refused:
        errors = refused.errors(include_input=False, include_context=False, include_url=False)
    raise invalid([_problem(error) for error in errors[:_MOST_NAMED]])


def invalid(problems: list[str]) -> PermanentError:
    """The error of a payload with these problems, each ``field: what is wrong``."""
    return PermanentError("; ".join(problems), ErrorCode.INVALID_INPUT)


def header(headers: Mapping[str, str], name: str) -> str:
    """The value of a header whose name may be written in any case; empty when it is not there."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), "")


def same_secret(given: str, secret: SecretStr) -> bool:
    """Compare in constant time; nothing is the same as an empty secret."""
    expected = secret.get_secret_value().encode(errors="surrogatepass")
    same = hmac.compare_digest(given.encode(errors="surrogatepass"), expected)
    return same and bool(expected)


def present(**values: Any) -> dict[str, Any]:
    """The values that are there."""
    return {name: value for name, value in values.items() if value is not None}


def _problem(error: ErrorDetails) -> str:
    path = ".".join(map(str, error["loc"])) or "payload"
    is_no_object = error["type"] == "model_type"  # its own text names our class
    return f"{path}: {'Input should be an object' if is_no_object else error['msg']}"
