"""What customers and the agent have said, and who customers are, is shown only when asked for."""

from collections.abc import Mapping
from typing import Any, Final

PRIVATE: Final = frozenset(
    {"user_message", "response_text", "metadata", "order_data", "fields", "body_base64"}
)
"""Arguments of tasks that hold such things."""


def without_texts(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a task, with those that are private told by their size alone."""
    return {name: _hidden(name, value) for name, value in arguments.items()}


def _hidden(name: str, value: Any) -> Any:
    if name not in PRIVATE or not value:
        return value
    if isinstance(value, str):
        return f"({len(value)} characters)"
    return f"({len(value)} fields)" if isinstance(value, Mapping) else "(hidden)"
