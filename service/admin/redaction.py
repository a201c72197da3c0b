"""The arguments of a task, without what a customer or the agent has said."""

from collections.abc import Mapping
from typing import Any, Final

NAMES: Final = frozenset(
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
"""Arguments that name something. All others may be somebody's words, or quote them."""


def is_private(name: str, value: Any) -> bool:
    """Whether an argument is shown to those only who ask for texts."""
    return name not in NAMES and value is not None and not isinstance(value, bool | int | float)


def without_texts(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, with those that are private told by their size alone."""
    return {
        name: _size(value) if is_private(name, value) else value
        for name, value in arguments.items()
    }


def _size(value: Any) -> str:
    if isinstance(value, str):
        return f"({len(value)} characters)"
    return f"({len(value)} fields)" if isinstance(value, Mapping) else "(hidden)"
