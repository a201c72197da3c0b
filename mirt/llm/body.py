"""Read values from the JSON of an answer, whatever its shape."""

from typing import Any


def at(body: Any, *path: str | int) -> Any:
    """Return the value at ``path``; None if a step of it is missing or of another type."""
    for step in path:
        try:
            body = body[step]
        except (LookupError, TypeError):
            return None
    return body


def storable(text: str) -> str:
    """Return a text that a database can store.

    An answer that was cut off may end within an emoji, and an escape may be a NUL character.
    """
    return text.replace("\0", "").encode(errors="replace").decode()
