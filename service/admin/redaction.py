"""Redact the arguments of a task: hide the texts of customers and of the LLM."""

from collections.abc import Mapping
from typing import Any, Final

PUBLIC_ARGUMENTS: Final = frozenset(
    {
        "session_id",
        "platform",
        "channel",
        "chat_id",
        "user_id",
        "message_id",
        "reply_to_message_id",
        "order_id",
        "external_id",
        "delay_hours",
        "number",
        "since",
    }
)
"""Arguments that are ids, names or numbers. All others may contain or quote a person's text."""


def is_private(name: str, value: Any) -> bool:
    """Whether an argument is hidden until the operator asks for texts."""
    return (
        name not in PUBLIC_ARGUMENTS
        and value is not None
        and not isinstance(value, bool | int | float)
    )


def without_texts(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments; a private one is replaced by its size."""
    return {
        name: _size(value) if is_private(name, value) else value
        for name, value in arguments.items()
    }


def _size(value: Any) -> str:
    if isinstance(value, str):
        return f"({len(value)} characters)"
    return f"({len(value)} fields)" if isinstance(value, Mapping) else "(hidden)"
