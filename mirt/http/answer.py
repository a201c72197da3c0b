"""What a service has answered, without its secrets."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered. Its ``repr`` shows no content: customers' texts may be in it."""

    status: int
    body: Any = field(repr=False)
    """The parsed JSON, ``None`` when it is not JSON."""
    headers: Mapping[str, str] = field(repr=False)
    """By name, in any case."""
    text: str = field(repr=False)

    @classmethod
    def read(
        cls, status: int, headers: Mapping[str, str], content: bytes, *, secrets: Collection[str]
    ) -> Self:
        """The answer of these bytes, with asterisks where it repeats one of ``secrets``."""
        text = content.decode(errors="replace")
        for secret in secrets:
            text = text.replace(secret, "***")
        return cls(status, _parsed(text), headers, text)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
