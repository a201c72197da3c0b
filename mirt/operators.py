"""Name the operator who acts: set once by the door that lets them in, read where an act is stored.

with acting_as(Operator("olena", Door.PAGE)):
    ...  # every act that is recorded here carries her name
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Door(StrEnum):
    """The way by which an operator reaches the service."""

    PAGE = "page"
    """The page ``/ops``, with a session."""
    BEARER = "bearer"
    """The page ``/ops``, with a bearer token: a script."""
    COMMAND = "command"
    """The command ``mirt`` on a machine of the service."""
    CODE = "code"
    """Python code that calls the service without naming an operator."""


@dataclass(frozen=True, slots=True)
class Operator:
    """A person, or a script, that changes something: the name of their token or of their user."""

    name: str
    door: Door


NOT_NAMED: Final = Operator("unknown", Door.CODE)

_operator: ContextVar[Operator] = ContextVar("operator", default=NOT_NAMED)


@contextmanager
def acting_as(operator: Operator) -> Iterator[None]:
    """Make ``operator`` the one who acts in the body."""
    token = _operator.set(operator)
    try:
        yield
    finally:
        _operator.reset(token)


def current_operator() -> Operator:
    """Return the operator who acts; ``NOT_NAMED`` outside of every door."""
    return _operator.get()
